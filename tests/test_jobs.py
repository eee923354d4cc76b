"""The queue, its claims, and the ways between states, on both engines."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import product

import pytest
from sqlalchemy import text

from databases import Clock, insert_job, reload
from storage.database import Database, open_database
from storage.job import OPEN, TERMINAL, TRANSITIONS, Job, State
from storage.jobs import Jobs, Overtaken
from storage.statuses import Statuses
from storage.updates import Updates

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEASE_MS = 60_000


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


async def claim(jobs: Jobs) -> Job:
    """Claim the one job that is due."""
    [job] = await jobs.claim(10, lease_ms=LEASE_MS)
    return job


# --- claiming ---


async def test_a_due_job_has_one_holder_however_many_ask_at_once(database: Database, replica: Database) -> None:
    due = {(await insert_job(database, State.RENDERING)).id for _ in range(12)}
    takes = [Jobs(where).claim(3, lease_ms=LEASE_MS) for where in (database, replica) * 3]
    held = [job for taken in await asyncio.gather(*takes) for job in taken]
    assert len(held) == len(due)
    assert {job.id for job in held} == due


async def test_whoever_waits_longest_is_claimed_first(database: Database, jobs: Jobs) -> None:
    now = database.now()
    late, early, _future = [await insert_job(database, State.RENDERING, due_at=now + wait) for wait in (0, -5000, 1)]
    assert [job.id for job in await jobs.claim(1, lease_ms=LEASE_MS)] == [early.id]
    assert [job.id for job in await jobs.claim(9, lease_ms=LEASE_MS)] == [late.id]


async def test_who_waits_for_a_place_or_has_ended_is_not_claimed(database: Database, jobs: Jobs) -> None:
    for state in (State.QUEUED, *TERMINAL):
        await insert_job(database, state)
    assert await jobs.claim(9, lease_ms=LEASE_MS) == []


async def test_no_more_are_claimed_than_asked_for_whatever_the_planner_believes(
    request: pytest.FixtureRequest, database_url: str, clock: Clock
) -> None:
    """Told that a table holds one row, PostgreSQL may run a subquery of `IN` again for each row that it meets."""
    async with open_database(database_url, now=clock) as database:
        queues = (Jobs(database), Statuses(database), Updates(database))
        for number in range(10):
            await insert_job(database, State.RENDERING, status_at=clock())
            await queues[-1].store([(number, number, "{}")])
            if number == 0:
                async with database.begin() as connection:
                    await connection.execute(text("ANALYZE"))
        assert [len(await queue.claim(2, lease_ms=LEASE_MS)) for queue in queues] == [2, 2, 2]


async def test_a_lease_that_is_over_makes_a_new_claim(database: Database, jobs: Jobs, clock: Clock) -> None:
    await insert_job(database, State.RENDERING)
    first = await claim(jobs)
    clock.turn(seconds=59.999)
    assert await jobs.claim(9, lease_ms=LEASE_MS) == []
    clock.turn(seconds=0.001)
    second = await claim(jobs)
    assert second.claim != first.claim


async def test_an_extended_lease_holds(database: Database, jobs: Jobs, clock: Clock) -> None:
    await insert_job(database, State.RENDERING)
    held = await claim(jobs)
    clock.turn(seconds=50)
    await jobs.extend(held, lease_ms=LEASE_MS)
    clock.turn(seconds=50)
    assert await jobs.claim(9, lease_ms=LEASE_MS) == []
    await jobs.save(held, result_url="kept")


WRITES: tuple[Callable[[Jobs, Job], Awaitable[object]], ...] = (
    lambda jobs, job: jobs.extend(job, lease_ms=LEASE_MS),
    lambda jobs, job: jobs.save(job, result_url="stale"),
    lambda jobs, job: jobs.advance(job, State.SAVING),
    lambda jobs, job: jobs.release(job, due_at=0),
    lambda jobs, job: jobs.retry(job, due_at=0),
)


async def _lease_over(jobs: Jobs, _job: Job, clock: Clock) -> None:
    clock.turn(seconds=60)
    await claim(jobs)


async def _given_back(jobs: Jobs, job: Job, _clock: Clock) -> None:
    await jobs.release(job, due_at=0)


async def _ended(jobs: Jobs, job: Job, _clock: Clock) -> None:
    await jobs.advance(job, State.FAILED)


@pytest.mark.parametrize("lose", [_lease_over, _given_back, _ended])
async def test_who_has_lost_a_job_writes_nothing_more(
    database: Database, jobs: Jobs, clock: Clock, lose: Callable[[Jobs, Job, Clock], Awaitable[None]]
) -> None:
    """Fencing: a worker that was frozen past its lease wakes up to `Overtaken`, and the row is not touched."""
    await insert_job(database, State.RENDERING)
    lost = await claim(jobs)
    await lose(jobs, lost, clock)
    before = await reload(database, lost)
    for write in WRITES:
        with pytest.raises(Overtaken):
            await write(jobs, lost)
    assert await reload(database, lost) == before


async def test_a_holder_moves_a_job_on_only_from_where_it_is(database: Database, jobs: Jobs) -> None:
    """The claim is still its own, but what it read is not true any more."""
    await insert_job(database, State.RENDERING)
    held = await claim(jobs)
    moved = await jobs.advance(held, State.SAVING)
    with pytest.raises(Overtaken):
        await jobs.advance(held, State.FAILED)
    assert await reload(database, held) == moved


async def test_a_start_gives_back_every_claim_of_the_dead_process(database: Database, jobs: Jobs, clock: Clock) -> None:
    await insert_job(database, State.RENDERING)
    waiting = await insert_job(database, State.RENDERING, due_at=clock() + 5000)
    lost = await claim(jobs)
    await jobs.release_all()
    assert (await claim(jobs)).id == lost.id
    assert (await reload(database, waiting)).due_at == waiting.due_at


async def test_the_next_due_job_is_known_and_a_queued_one_waits_for_no_clock(database: Database, jobs: Jobs) -> None:
    now = database.now()
    assert await jobs.next_due() is None
    await insert_job(database, State.QUEUED)
    await insert_job(database, State.DELIVERED)
    assert await jobs.next_due() is None
    await insert_job(database, State.QUEUED, due_at=now + 3)
    assert await jobs.next_due() == now + 3
    await insert_job(database, State.RENDERING, due_at=now + 2)
    assert await jobs.next_due() == now + 2


# --- the bell ---


async def test_a_ring_makes_a_waiting_job_due_now(database: Database, jobs: Jobs, clock: Clock) -> None:
    job = await insert_job(database, State.RENDERING, due_at=clock() + 10_000)
    await jobs.ring(job.id, state=State.SAVING)
    assert await jobs.claim(9, lease_ms=LEASE_MS) == [], "it is in another state"
    await jobs.ring(job.id, state=State.RENDERING)
    rung = await claim(jobs)
    await jobs.release(rung, due_at=clock() + 10_000)
    assert await jobs.claim(9, lease_ms=LEASE_MS) == [], "this claim has heard it"


@pytest.mark.parametrize("give_back", ["release", "retry"])
async def test_a_ring_while_held_makes_the_job_due_as_soon_as_it_is_given_back(
    database: Database, jobs: Jobs, clock: Clock, give_back: str
) -> None:
    await insert_job(database, State.RENDERING)
    held = await claim(jobs)
    await jobs.ring(held.id, state=State.RENDERING)
    assert await jobs.claim(9, lease_ms=LEASE_MS) == [], "the holder keeps it"
    await getattr(jobs, give_back)(held, due_at=clock() + 10_000)
    again = await claim(jobs)
    await jobs.release(again, due_at=clock() + 10_000)
    assert await jobs.claim(9, lease_ms=LEASE_MS) == [], "it rang once"


# --- moving on ---


async def test_a_job_given_back_is_due_when_its_holder_says(database: Database, jobs: Jobs, clock: Clock) -> None:
    await insert_job(database, State.RENDERING)
    held = await claim(jobs)
    await jobs.release(held, due_at=clock() + 2000, result_url="u")
    released = await reload(database, held)
    assert (released.claim, released.due_at, released.result_url) == (None, clock() + 2000, "u")


async def test_retries_are_counted_until_the_next_state(database: Database, jobs: Jobs, clock: Clock) -> None:
    await insert_job(database, State.RENDERING)
    for attempts in range(3):
        held = await claim(jobs)
        assert held.attempts == attempts
        await jobs.retry(held, due_at=clock())
    advanced = await jobs.advance(await claim(jobs), State.SAVING)
    assert advanced.attempts == 0
    assert advanced.claim, "still held"
    assert await jobs.save(advanced, video_key="k") == await reload(database, advanced)


async def test_a_job_that_ends_is_nobodys_and_never_due(database: Database, jobs: Jobs) -> None:
    for end in TERMINAL:
        await insert_job(database, State.DELIVERING, incoming='[{"kind": "photo"}]')
        ended = await jobs.advance(await claim(jobs), end, reason="why")
        assert (ended.state, ended.reason, ended.claim, ended.due_at, ended.incoming) == (end, "why", None, None, "[]")
        assert ended.status_at == database.now(), "its status message wants a last look"


async def test_only_the_drawn_ways_can_be_gone(database: Database, jobs: Jobs) -> None:
    assert TRANSITIONS.keys() == OPEN
    for state, target in product(State, State):
        job = await insert_job(database, state, claim="mine")
        if target in TRANSITIONS.get(state, ()):
            assert (await jobs.advance(job, target)).state is target
            continue
        with pytest.raises(ValueError, match=f"no way leads from {state} to {target}"):
            await jobs.advance(job, target)
        assert await reload(database, job) == job


async def test_the_row_tells_its_story(database: Database, jobs: Jobs, clock: Clock) -> None:
    born = clock()
    job = await insert_job(database, State.RENDERING)
    job = await claim(jobs)
    for state in (State.SAVING, State.DELIVERING, State.DELIVERED):
        clock.turn(seconds=1)
        job = await jobs.advance(job, state)
    assert job.story == [
        (State.RENDERING, born),
        (State.SAVING, born + 1000),
        (State.DELIVERING, born + 2000),
        (State.DELIVERED, born + 3000),
    ]


# --- reading ---


async def test_jobs_are_listed_newest_first_by_what_is_asked(database: Database, jobs: Jobs) -> None:
    first = await insert_job(database, State.QUEUED, user_id=1, chat_id=1)
    second = await insert_job(database, State.FAILED, user_id=1, chat_id=2)
    third = await insert_job(database, State.QUEUED, user_id=2, chat_id=2)
    assert await jobs.list() == [third, second, first]
    assert await jobs.list(limit=1) == [third]
    assert await jobs.list(states=[State.QUEUED]) == [third, first]
    assert await jobs.list(chat_id=2, user_id=1) == [second]
    assert await jobs.get(first.id) == first
    assert await jobs.get(third.id + 1) is None


async def test_any_number_of_jobs_comes_in_pages(database: Database, jobs: Jobs) -> None:
    """One that is added meanwhile shifts nobody."""
    wanted = [await insert_job(database, State.QUEUED) for _ in range(5)]
    await insert_job(database, State.FAILED)
    found = []
    async for page in jobs.pages(most=2, states=[State.QUEUED]):
        found.append([job.id for job in page])
        await insert_job(database, State.QUEUED)
    newest_first = [job.id for job in reversed(wanted)]
    assert found == [newest_first[:2], newest_first[2:4], newest_first[4:]]


async def test_the_jobs_that_have_not_ended_are_counted(database: Database, jobs: Jobs) -> None:
    for state in (State.QUEUED, State.QUEUED, State.RENDERING, State.FAILED):
        await insert_job(database, state)
    assert await jobs.counts() == dict.fromkeys(OPEN, 0) | {State.QUEUED: 2, State.RENDERING: 1}


async def test_the_latest_renders_tell_how_long_one_takes(database: Database, jobs: Jobs) -> None:
    await insert_job(database, State.RENDERING, voice_ms=1000, submitted_at=10)
    for took_ms in (30, 20):
        await insert_job(database, State.SAVING, voice_ms=2000, submitted_at=10, rendered_at=10 + took_ms)
    assert await jobs.render_times() == [(2000, 20), (2000, 30)]
    assert await jobs.render_times(most=1) == [(2000, 20)]


async def test_the_place_in_the_queue_counts_who_waits_longer(database: Database, jobs: Jobs) -> None:
    await insert_job(database, State.RENDERING, queued_at=1)
    first, second = [await insert_job(database, State.QUEUED, queued_at=at) for at in (2, 3)]
    assert [await jobs.place_in_queue(job) for job in (first, second)] == [1, 2]


async def test_a_photo_counts_once_it_may_be_used(database: Database) -> None:
    for columns, usable in (({}, False), ({"photo_key": "k"}, False), ({"photo_key": "k", "photo_accepted": 1}, True)):
        assert (await insert_job(database, State.COLLECTING, **columns)).has_photo is usable


async def test_a_job_under_an_old_button_is_never_a_new_one(database: Database, jobs: Jobs) -> None:
    """Ids are not given again, not even the highest of rows that were deleted."""
    gone = await insert_job(database, State.FAILED)
    async with database.begin() as connection:
        await connection.execute(text("DELETE FROM jobs"))
    assert (await insert_job(database, State.QUEUED)).id > gone.id
    assert await jobs.get(gone.id) is None


async def test_a_bell_does_not_ring_on_in_the_next_state(database: Database, jobs: Jobs, clock: Clock) -> None:
    """Else the first failure there would not be waited after."""
    await insert_job(database, State.RENDERING)
    [held] = await jobs.claim(9, lease_ms=LEASE_MS)
    await jobs.ring(held.id, state=State.RENDERING)
    saving = await jobs.advance(held, State.SAVING)
    await jobs.retry(saving, due_at=clock() + 5000)

    assert await jobs.claim(9, lease_ms=LEASE_MS) == []
