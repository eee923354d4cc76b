"""The breaker: while the account is refused, one job at a time may try, seldom; on both engines."""

import pytest

from databases import Clock, insert_job
from storage.breaker import Breaker
from storage.database import Database
from storage.jobs import State
from storage.ledger import Ledger

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def breaker(database: Database) -> Breaker:
    return Breaker(database)


async def admitted(database: Database) -> int:
    return len(await Ledger(database).admit(at_akool=9, lease_ms=60_000, most=9))


async def test_a_pause_lets_one_try_when_its_time_has_come(database: Database, breaker: Breaker, clock: Clock) -> None:
    for user_id in (1, 2, 3):
        await insert_job(database, State.QUEUED, user_id=user_id)
    await breaker.trip("OutOfCredit")
    assert await admitted(database) == 0
    clock.turn(seconds=60)
    assert await admitted(database) == 1
    assert await admitted(database) == 0, "the one that tries has not come back yet"
    assert await breaker.reset()
    assert await admitted(database) == 2


async def test_each_failed_try_makes_the_next_wait_longer_up_to_a_quarter_of_an_hour(
    breaker: Breaker, clock: Clock
) -> None:
    since = clock()
    waits = []
    for _ in range(7):
        await breaker.trip("InvalidToken")
        pause = await breaker.pause()
        assert pause is not None
        assert (pause.reason, pause.since) == ("InvalidToken", since)
        waits.append((pause.try_at - clock()) // 60_000)
        clock.turn(seconds=1)
    assert waits == [1, 2, 4, 8, 15, 15, 15]


async def test_only_the_first_reset_ends_a_pause(breaker: Breaker) -> None:
    """So that one message says that it is over, not one per job."""
    assert not await breaker.reset()
    await breaker.trip("OutOfCredit")
    assert [await breaker.reset(), await breaker.reset()] == [True, False]
    assert await breaker.pause() is None
