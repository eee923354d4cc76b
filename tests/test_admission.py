"""Admission: who may go to AKOOL, and that it is written down before, on both engines."""

import asyncio

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from databases import Clock, insert_job, reload, until_waiting
from storage.breaker import Breaker
from storage.database import Database
from storage.job import AT_AKOOL, State
from storage.jobs import Jobs
from storage.ledger import Call, Ledger
from storage.schema import calls
from storage.schema import jobs as jobs_table

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEASE_MS = 60_000


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


async def admit(ledger: Ledger, *, at_akool: int = 9, most: int = 9, spend_limit: int | None = None) -> dict[int, str]:
    """The admitted jobs' ids, in their order, and their tokens."""
    admitted = await ledger.admit(at_akool=at_akool, lease_ms=LEASE_MS, most=most, spend_limit=spend_limit)
    return {job.id: token for job, token in admitted}


async def test_an_admitted_job_is_held_and_its_call_written_down(database: Database, ledger: Ledger) -> None:
    now = database.now()
    queued = await insert_job(database, State.QUEUED, attempts=2)
    [(job, token)] = await ledger.admit(at_akool=1, lease_ms=LEASE_MS, most=1)
    assert job == await reload(database, queued)
    assert (job.state, job.due_at, job.submitted_at, job.attempts) == (State.SUBMITTING, now + LEASE_MS, now, 2)
    assert job.claim
    assert len(token) >= 32, "nobody guesses a webhook's path"
    assert await ledger.of_job(job.id) == [await ledger.get(token)] == [Call(token, job.id, now, None, None, 0, None)]


async def test_only_queued_jobs_that_are_due_are_admitted(database: Database, ledger: Ledger) -> None:
    for state in State:
        if state not in {State.QUEUED, *AT_AKOOL}:
            await insert_job(database, state)
    await insert_job(database, State.QUEUED, due_at=database.now() + 1)
    due = await insert_job(database, State.QUEUED)
    assert list(await admit(ledger)) == [due.id]


async def test_no_more_are_at_akool_than_there_are_places(database: Database, ledger: Ledger, jobs: Jobs) -> None:
    for state in AT_AKOOL:
        await insert_job(database, state)
    for _ in range(4):
        await insert_job(database, State.QUEUED)
    assert len(await admit(ledger, at_akool=4, most=1)) == 1
    assert len(await admit(ledger, at_akool=4)) == 1
    assert await admit(ledger, at_akool=4) == {}
    assert await admit(ledger, at_akool=3) == {}, "fewer places than before"
    [rendering] = await jobs.list(states=[State.RENDERING])
    await ledger.close(rendering, outcome="accepted", state=State.SAVING)
    assert len(await admit(ledger, at_akool=4)) == 1


async def test_turns_are_fair_between_users(database: Database, ledger: Ledger) -> None:
    """Whoever has the fewest jobs at AKOOL comes first, then whoever waits longest."""
    await insert_job(database, State.RENDERING, user_id=1)
    wishes = [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5), (2, 6)]  # user, queued at
    ids = {wish: (await insert_job(database, State.QUEUED, user_id=wish[0], queued_at=wish[1])).id for wish in wishes}
    fair = [(2, 3), (3, 5), (1, 1), (2, 4), (1, 2), (2, 6)]
    assert list(await admit(ledger)) == [ids[wish] for wish in fair]


async def test_admissions_at_the_same_time_share_the_places(database: Database, replica: Database) -> None:
    """No job is admitted twice and no place is given twice, within a process and between replicas."""
    for user_id in range(10):
        await insert_job(database, State.QUEUED, user_id=user_id)
    shares = await asyncio.gather(*(admit(Ledger(where), at_akool=6, most=2) for where in (database, replica) * 4))
    admitted = [pair for share in shares for pair in share.items()]
    assert len(admitted) == len(dict(admitted)) == len(set(dict(admitted).values())) == 6
    async with database.begin() as connection:
        assert await connection.scalar(select(func.count()).select_from(calls)) == 6


# --- the day's spending ---


async def test_no_more_is_spent_in_a_day_than_may_be(database: Database, ledger: Ledger, clock: Clock) -> None:
    """Whatever waits; and what turned out to cost nothing may be spent anew."""
    for _ in range(6):
        await insert_job(database, State.QUEUED)
    assert len(await admit(ledger, most=1, spend_limit=3)) == 1
    assert await ledger.may_admit(at_akool=9, spend_limit=3)
    [first, *_] = admitted = await ledger.admit(at_akool=9, lease_ms=LEASE_MS, most=9, spend_limit=3)
    assert len(admitted) == 2
    assert (await ledger.spent_today(), await admit(ledger, spend_limit=3)) == (3, {})
    assert not await ledger.may_admit(at_akool=9, spend_limit=3)
    assert not await ledger.may_admit(at_akool=9, spend_limit=2), "less than was spent already"
    assert await admit(ledger, spend_limit=2) == {}
    assert await ledger.may_admit(at_akool=9), "no limit"
    await ledger.close(first[0], outcome="refused", state=State.FAILED)
    assert await ledger.may_admit(at_akool=9, spend_limit=3)
    assert len(await admit(ledger, spend_limit=3)) == 1
    clock.turn(seconds=24 * 3600)
    assert await ledger.may_admit(at_akool=9, spend_limit=3)
    assert len(await admit(ledger, at_akool=99, spend_limit=3)) == 2


async def test_who_may_spend_may_not_be_let_in_for_all_that(database: Database, ledger: Ledger) -> None:
    """The other conditions hold as ever."""
    assert not await ledger.may_admit(at_akool=9, spend_limit=9), "nobody waits"
    await insert_job(database, State.QUEUED)
    await insert_job(database, State.RENDERING)
    assert not await ledger.may_admit(at_akool=1, spend_limit=9), "no place is free"
    assert await ledger.may_admit(at_akool=2, spend_limit=9)


async def test_admissions_at_the_same_time_share_what_may_be_spent(database: Database, replica: Database) -> None:
    for user_id in range(10):
        await insert_job(database, State.QUEUED, user_id=user_id)
    shares = await asyncio.gather(
        *(admit(Ledger(where), at_akool=99, most=2, spend_limit=5) for where in (database, replica) * 4)
    )
    assert sum(map(len, shares)) == 5


async def test_a_day_that_is_spent_costs_the_single_try_of_a_pause_nothing(
    database: Database, ledger: Ledger, clock: Clock
) -> None:
    await insert_job(database, State.QUEUED)
    await admit(ledger)
    await insert_job(database, State.QUEUED)
    await Breaker(database).trip("OutOfCredit", tried_at=clock())
    clock.turn(seconds=20)
    assert await admit(ledger, spend_limit=1) == {}
    assert len(await admit(ledger, spend_limit=2)) == 1


# --- written down before ---


async def test_the_database_itself_refuses_a_second_open_call(database: Database, ledger: Ledger) -> None:
    await insert_job(database, State.QUEUED)
    [(job, _)] = await ledger.admit(at_akool=1, lease_ms=LEASE_MS, most=1)

    async def write_another() -> None:
        async with database.begin() as connection:
            await connection.execute(insert(calls).values(token="another", job_id=job.id, created_at=1))

    with pytest.raises(IntegrityError):
        await write_another()
    await ledger.close(job, outcome="refused", state=State.QUEUED)
    await write_another()


async def test_a_job_with_an_open_call_is_not_admitted_whatever_the_code_thinks(
    database: Database, ledger: Ledger, jobs: Jobs
) -> None:
    """The intent and the new state are one transaction: without the one there is not the other."""
    await insert_job(database, State.QUEUED)
    [(job, _)] = await ledger.admit(at_akool=1, lease_ms=LEASE_MS, most=1)
    await jobs.release(await jobs.advance(job, State.QUEUED), due_at=0)  # forgot to close the call
    with pytest.raises(IntegrityError):
        await admit(ledger)
    assert (await reload(database, job)).state is State.QUEUED


@pytest.mark.asyncio(loop_scope="function")
async def test_a_job_cancelled_while_it_is_admitted_is_left_out(postgres: Database) -> None:
    """... and the others are admitted all the same."""
    queued = [await insert_job(postgres, State.QUEUED, user_id=user_id) for user_id in (1, 2)]
    async with postgres.begin() as connection:
        await connection.execute(
            update(jobs_table).where(jobs_table.c.id == queued[0].id).values(state=State.CANCELLED, due_at=None)
        )
        admission = asyncio.create_task(admit(Ledger(postgres)))
        await until_waiting(postgres, sessions=1)
    assert list(await admission) == [queued[1].id]
