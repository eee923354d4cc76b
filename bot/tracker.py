"""The loop that moves jobs: claims what is due, runs its steps, and keeps the lease while it does."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import structlog

from bot.clock import Clock
from bot.leases import keeping_the_lease
from bot.patience import LEASE_MS
from bot.pipeline import Pipeline
from bot.troubles import Outage
from bot.watching import about_job, job_step
from storage.engine import DATABASE_ERRORS
from storage.job import Job, State
from storage.jobs import Jobs, Overtaken
from storage.ledger import Ledger

log = structlog.get_logger()

_ANSWER_GRACE_SECONDS = 30

Result = TypeVar("Result")

Work = tuple[Job, str | None]
"""A claimed job, and the token of the create call that its holder may make."""


class Tracker:
    def __init__(
        self,
        pipeline: Pipeline,
        jobs: Jobs,
        ledger: Ledger,
        clock: Clock,
        *,
        at_akool: int,
        spend_limit: int | None,
        changed: Callable[[], None],
    ) -> None:
        self._pipeline = pipeline
        self._jobs = jobs
        self._ledger = ledger
        self._clock = clock
        self._room: dict[str, Any] = {"at_akool": at_akool, "spend_limit": spend_limit}
        self._changed = changed
        self._outage = Outage(clock, "the queue can't be admitted from")

    async def claim(self, most: int, *, lease_ms: int) -> Sequence[Work]:
        due: list[Work] = [(job, None) for job in await self._jobs.claim(most, lease_ms=lease_ms)]
        if len(due) == most:
            return due
        try:
            admitted = await self._ledger.admit(**self._room, lease_ms=lease_ms, most=most - len(due))
        except DATABASE_ERRORS as error:  # but what is claimed already must be done
            self._outage.goes_on(error, exc_info=True)
            return due
        self._outage.is_over()
        return [*due, *admitted]

    async def next_due(self) -> int | None:
        """When a job falls due, or a queued one can be admitted."""
        now = self._clock.now()
        due_at = await self._jobs.next_due()
        if (due_at is None or due_at > now) and await self._ledger.may_admit(**self._room):
            return now
        return due_at

    async def do(self, work: Work) -> None:
        """Run a job's steps for as long as they lead on; leave it due later where one fails."""
        job, token = work
        about_job(job)
        extend = partial(self._jobs.extend, job, lease_ms=LEASE_MS)
        await keeping_the_lease(self._run(job, token), extend=extend, clock=self._clock)

    async def _run(self, job: Job, token: str | None) -> None:
        current: Job | None = job
        try:
            if token is not None:
                self._changed()
                with job_step("submit", job):
                    await _to_its_end(self._pipeline.submit(job, token))
                self._changed()
                return
            while current is not None:
                job = current
                with job_step(job.state, job):
                    step = self._pipeline.step(job)
                    current = await (_to_its_end(step) if job.state is State.DELIVERING else step)
                self._changed()
        except asyncio.CancelledError:
            with suppress(Overtaken):  # where the step has come to its end after all
                await asyncio.shield(self._give_back(job, due_at=self._clock.now()))
            raise
        except Overtaken:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is judged there
            if await self._pipeline.setbacks.step_failed(job, error) is not None:
                self._changed()

    async def _give_back(self, job: Job, *, due_at: int) -> None:
        """On the way out; a call that may be under way stays with its lease, so that its answer can still arrive."""
        if job.state is not State.SUBMITTING:
            await self._jobs.release(job, due_at=due_at)


async def _to_its_end(call: Coroutine[Any, Any, Result]) -> Result:
    """Make a call that should not be broken off: one that may be paid for, or a video that would come twice.

    Who is cancelled meanwhile still waits for its answer, within reason.
    """
    task = asyncio.create_task(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task}, timeout=_ANSWER_GRACE_SECONDS)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise
