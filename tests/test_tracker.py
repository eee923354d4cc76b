"""The loop that moves jobs: when it looks again, and how it ends."""

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from bot.setbacks import Setbacks
from bot.tracker import Tracker
from clocks import TurnableClock
from databases import insert_job
from storage.alarms import Alarms
from storage.breaker import Breaker
from storage.database import Database
from storage.job import Job, State
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.schema import metadata


class Slow:
    """Stands for a pipeline whose calls to the outside take their time."""

    def __init__(self) -> None:
        self.begun, self.answer = asyncio.Event(), asyncio.Event()
        self.heard = False

    async def submit(self, _job: Job, _token: str) -> None:
        self.begun.set()
        await self.answer.wait()
        self.heard = True

    async def step(self, job: Job) -> None:
        await self.submit(job, "")


@pytest.mark.parametrize(("state", "token"), [(State.SUBMITTING, "token"), (State.DELIVERING, None)])
async def test_who_stops_waits_for_the_answer_to_a_call_that_should_not_be_broken_off(
    state: State, token: str | None
) -> None:
    """Else every deploy would leave jobs about which nobody knows whether they cost anything, or send videos twice."""
    clock, pipeline = TurnableClock(), Slow()
    engine = create_async_engine("sqlite+aiosqlite://")
    database = Database(engine, clock.now)
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    job = await insert_job(database, state, claim="ours")
    stand_in: Any = pipeline
    tracker = Tracker(
        stand_in, Jobs(database), Ledger(database), clock, at_akool=1, spend_limit=None, changed=lambda: None
    )
    work = asyncio.create_task(tracker.do((job, token)))
    await pipeline.begun.wait()

    work.cancel()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not work.done()
    pipeline.answer.set()
    await asyncio.wait({work})
    assert work.cancelled()
    assert pipeline.heard
    await engine.dispose()


class Failing:
    """Stands for a pipeline whose steps fail, and the `setbacks` that judge it."""

    def __init__(self, database: Database, clock: TurnableClock) -> None:
        jobs, ledger = Jobs(database), Ledger(database)
        self.setbacks = Setbacks(clock, jobs, ledger, Breaker(database), Alarms(database))

    async def step(self, _job: Job) -> None:
        raise ValueError("a mistake of ours")


@pytest.mark.asyncio(loop_scope="session")
async def test_the_chat_is_told_at_once_when_a_job_is_given_up(database: Database) -> None:
    clock, rung = TurnableClock(), asyncio.Event()
    database.now = clock.now
    await insert_job(database, State.SAVING)
    pipeline: Any = Failing(database, clock)
    tracker = Tracker(pipeline, Jobs(database), Ledger(database), clock, at_akool=1, spend_limit=None, changed=rung.set)
    while works := await tracker.claim(9, lease_ms=60_000):
        assert not rung.is_set()
        await tracker.do(works[0])
        clock.turn(seconds=600)

    assert rung.is_set()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_queue_that_is_shut_is_not_looked_at_again_and_again(database: Database) -> None:
    """By the day's spending, or by the operator: it may open without a bell, which the worker's idle time is for."""
    clock, breaker = TurnableClock(), Breaker(database)
    database.now = clock.now
    nobody: Any = None
    tracker = Tracker(nobody, Jobs(database), Ledger(database), clock, at_akool=9, spend_limit=1, changed=lambda: None)
    for _ in range(2):
        await insert_job(database, State.QUEUED)
    await breaker.pause_all()
    assert await tracker.next_due() is None
    assert await tracker.claim(9, lease_ms=60_000) == []
    await breaker.resume_all()
    assert await tracker.next_due() == clock.now()

    [(job, _)] = await tracker.claim(9, lease_ms=60_000)
    assert await tracker.next_due() == job.due_at
    later = clock.now() + 48 * 3_600_000
    await Jobs(database).release(job, due_at=later)
    assert await tracker.next_due() == later
    assert await tracker.claim(9, lease_ms=60_000) == []
    clock.turn(seconds=24 * 3600)
    assert await tracker.next_due() == clock.now()
