"""The breaker: while the account is refused, one job at a time may try, seldom; on both engines.

And the operator's own pause beside it.
"""

import pytest
from sqlalchemy import select

from databases import Clock, insert_job
from storage.breaker import Breaker
from storage.database import Database
from storage.job import State
from storage.ledger import Ledger
from storage.schema import breaker as table

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def breaker(database: Database) -> Breaker:
    return Breaker(database)


async def admitted(database: Database) -> int:
    return len(await Ledger(database).admit(at_akool=9, lease_ms=60_000, most=9))


async def test_a_pause_lets_one_try_when_its_time_has_come(database: Database, breaker: Breaker, clock: Clock) -> None:
    for user_id in (1, 2, 3):
        await insert_job(database, State.QUEUED, user_id=user_id)
    await breaker.trip("OutOfCredit", tried_at=clock())
    assert await admitted(database) == 0
    clock.turn(seconds=20)
    assert await admitted(database) == 1
    assert await admitted(database) == 0, "the one that tries has not come back yet"
    assert await breaker.reset()
    assert await admitted(database) == 2


async def test_each_failed_try_makes_the_next_wait_longer_up_to_a_quarter_of_an_hour(
    breaker: Breaker, clock: Clock
) -> None:
    since = clock()
    waits = []
    for _ in range(8):
        await breaker.trip("InvalidToken", tried_at=clock())
        pause = await breaker.pause()
        assert pause is not None
        assert (pause.reason, pause.since) == ("InvalidToken", since)
        waits.append((pause.try_at - clock()) // 1000)
        clock.turn(seconds=1)
    assert waits == [20, 40, 80, 160, 320, 640, 900, 900]


async def test_calls_that_were_under_way_when_the_pause_began_prolong_nothing(breaker: Breaker, clock: Clock) -> None:
    began_at = clock()
    clock.turn(seconds=5)
    for _ in range(3):
        await breaker.trip("OutOfCredit", tried_at=began_at)
        clock.turn(seconds=1)
    pause = await breaker.pause()
    assert pause is not None
    assert (pause.tries, pause.try_at - pause.since) == (0, 20_000)


async def test_a_try_that_nobody_hears_of_again_is_followed_by_another(
    database: Database, breaker: Breaker, clock: Clock
) -> None:
    """Its process was killed, say."""
    for user_id in (1, 2):
        await insert_job(database, State.QUEUED, user_id=user_id)
    await breaker.trip("OutOfCredit", tried_at=clock())
    clock.turn(seconds=20)
    assert await admitted(database) == 1
    clock.turn(seconds=179)
    assert await admitted(database) == 0
    clock.turn(seconds=1)
    assert await admitted(database) == 1


async def test_only_the_first_reset_ends_a_pause(breaker: Breaker) -> None:
    """So that one message says that it is over, not one per job."""
    assert not await breaker.reset()
    await breaker.trip("OutOfCredit", tried_at=0)
    assert [await breaker.reset(), await breaker.reset()] == [True, False]
    assert await breaker.pause() is None


# --- the operator's own pause ---


async def test_while_the_operator_pauses_nothing_is_admitted_however_long(
    database: Database, breaker: Breaker, clock: Clock
) -> None:
    await insert_job(database, State.QUEUED)
    await breaker.pause_all()
    for _ in range(2):
        assert await breaker.is_paused()
        assert await admitted(database) == 0
        assert not await Ledger(database).may_admit(at_akool=9)
        clock.turn(seconds=365 * 24 * 3600)
    await breaker.resume_all()
    assert not await breaker.is_paused()
    assert await Ledger(database).may_admit(at_akool=9)
    assert await admitted(database) == 1


async def test_while_the_operator_pauses_no_single_job_tries_either(
    database: Database, breaker: Breaker, clock: Clock
) -> None:
    """... and no try is lost by that."""
    await insert_job(database, State.QUEUED)
    await breaker.trip("OutOfCredit", tried_at=clock())
    clock.turn(seconds=20)
    await breaker.pause_all()
    assert not await Ledger(database).may_admit(at_akool=9)
    assert await admitted(database) == 0
    await breaker.resume_all()
    assert await admitted(database) == 1


async def test_pausing_twice_is_pausing_once(breaker: Breaker) -> None:
    await breaker.resume_all()
    for _ in range(2):
        await breaker.pause_all()
    await breaker.resume_all()
    assert not await breaker.is_paused()


async def test_the_operators_pause_and_akools_leave_each_other_alone(
    database: Database, breaker: Breaker, clock: Clock
) -> None:
    await breaker.pause_all(reason="maintenance")
    assert await breaker.pause() is None
    assert not await breaker.reset(), "AKOOL had taken every job"
    assert await breaker.is_paused()
    await breaker.trip("OutOfCredit", tried_at=clock())
    tripped = await breaker.pause()
    await breaker.resume_all()
    assert await breaker.pause() == tripped
    assert tripped is not None
    assert tripped.reason == "OutOfCredit"
    await breaker.pause_all()
    assert await breaker.pause() == tripped
    assert await breaker.reset()
    assert await breaker.is_paused()
    async with database.begin() as connection:
        names = list(await connection.scalars(select(table.c.name)))
    assert names == ["operator"]
