"""The queue of looks at status messages, on both engines."""

import asyncio

import pytest
from sqlalchemy import insert

from databases import Clock, insert_job, reload
from storage.database import Database
from storage.job import Job, State
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.schema import calls
from storage.statuses import Statuses

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEASE_MS = 60_000


@pytest.fixture
def statuses(database: Database) -> Statuses:
    return Statuses(database)


async def claim(statuses: Statuses) -> Job:
    [job] = await statuses.claim(9, lease_ms=LEASE_MS)
    return job


async def keep(statuses: Statuses, job: Job, *, look_at: int | None) -> None:
    await statuses.keep(job, look_at=look_at, message_id=5, shown="rendering", shown_at=6)


async def test_a_look_has_one_holder_and_comes_back_when_its_lease_is_over(
    database: Database, replica: Database, clock: Clock
) -> None:
    due = {(await insert_job(database, State.RENDERING, status_at=clock() - wait)).id for wait in range(6)}
    await insert_job(database, State.RENDERING, status_at=clock() + 1)
    await insert_job(database, State.RENDERING)
    takes = [Statuses(where).claim(2, lease_ms=LEASE_MS) for where in (database, replica) * 2]
    taken = [job.id for jobs in await asyncio.gather(*takes) for job in jobs]
    assert len(taken) == len(due)
    assert set(taken) == due
    clock.turn(seconds=60)
    assert due < {job.id for job in await Statuses(database).claim(9, lease_ms=LEASE_MS)}


async def test_the_longest_wish_is_seen_first_and_the_next_one_known(
    database: Database, statuses: Statuses, clock: Clock
) -> None:
    assert await statuses.next_due() is None
    for wait in (0, 2, 1):
        await insert_job(database, State.RENDERING, status_at=clock() - wait)
    assert await statuses.next_due() == clock() - 2
    [first] = await statuses.claim(1, lease_ms=LEASE_MS)
    assert first.status_at == clock() + LEASE_MS
    assert await statuses.next_due() == clock() - 1


@pytest.mark.parametrize("look_in_ms", [None, 10_000])
async def test_what_was_shown_is_kept_and_looked_at_again_when_asked(
    database: Database, statuses: Statuses, clock: Clock, look_in_ms: int | None
) -> None:
    await insert_job(database, State.RENDERING, status_at=clock())
    job = await claim(statuses)
    look_at = None if look_in_ms is None else clock() + look_in_ms
    await keep(statuses, job, look_at=look_at)
    kept = await Jobs(database).get(job.id)
    assert kept is not None
    assert (kept.status_message_id, kept.status_shown, kept.status_shown_at) == (5, "rendering", 6)
    assert kept.status_at == look_at == await statuses.next_due()


async def test_a_wish_that_came_meanwhile_is_not_overwritten(
    database: Database, statuses: Statuses, clock: Clock
) -> None:
    """The job moves on while its status is being edited: what was shown is kept, and the newer wish too."""
    moving = await insert_job(database, State.RENDERING, status_at=clock())
    looked_at = await claim(statuses)
    clock.turn(seconds=1)
    await Jobs(database).advance(moving, State.SAVING)
    await keep(statuses, looked_at, look_at=None)
    again = await claim(statuses)
    assert (again.state, again.status_message_id) == (State.SAVING, 5)


async def test_a_look_holds_no_job_up(database: Database, statuses: Statuses, clock: Clock) -> None:
    """Neither queue touches the other's time or claim."""
    job = await insert_job(database, State.RENDERING, status_at=clock())
    await claim(statuses)
    [held] = await Jobs(database).claim(1, lease_ms=5000)
    assert (held.id, held.status_at) == (job.id, clock() + LEASE_MS)
    await keep(statuses, held, look_at=clock() + 1)
    assert await Jobs(database).get(job.id) is not None
    await Jobs(database).save(held, result_url="still held")


async def test_two_looks_never_speak_at_once(database: Database, statuses: Statuses, clock: Clock) -> None:
    """What changes while a message is being sent is looked at after it; else two messages would be sent."""
    job = await insert_job(database, State.SUBMITTING, status_at=clock())
    [looking] = await statuses.claim(9, lease_ms=LEASE_MS)
    token = await call_for(database, job)
    await Ledger(database).arrived(token, "video", ask_at=clock())
    assert await statuses.claim(9, lease_ms=LEASE_MS) == []
    await statuses.keep(looking, look_at=None, message_id=5, shown="text", shown_at=clock())
    [again] = await statuses.claim(9, lease_ms=LEASE_MS)
    assert (again.status_message_id, again.state) == (5, State.RENDERING)


async def test_who_took_too_long_notes_nothing(database: Database, statuses: Statuses, clock: Clock) -> None:
    job = await insert_job(database, State.RENDERING, status_at=clock())
    [late] = await statuses.claim(9, lease_ms=LEASE_MS)
    clock.turn(seconds=LEASE_MS / 1000)
    [_] = await statuses.claim(9, lease_ms=LEASE_MS)
    assert not await statuses.keep(late, look_at=None, message_id=5, shown="text", shown_at=clock())
    assert (await reload(database, job)).status_message_id is None


async def call_for(database: Database, job: Job) -> str:
    """Write a call for a job into the ledger."""
    async with database.begin() as connection:
        await connection.execute(insert(calls).values(token="token", job_id=job.id, created_at=1))
    return "token"
