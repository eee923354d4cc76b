"""The ledger of create calls: money has its own book.

A call is written down, and committed, before it is made (`admit`), with the unguessable token of its webhook URL.
The database refuses a second open call for a job. AKOOL's answer and its callback are the same message
(`arrived`): idempotent, and taken in every unfinished state, so that either of them brings the `_id` home.

Outcomes: `accepted`, `refused` (surely not accepted, nothing charged), `unknown` (the answer never came). A call
is closed when its render is over, or when its outcome is settled otherwise.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, bindparam, case, exists, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.breaker import IS_SHUT, places_left
from storage.database import Database
from storage.job import AT_AKOOL, COLUMNS, IS_OPEN, SUBMIT_UNKNOWN, Job, State
from storage.jobs import Overtaken, change, entered, held, moved
from storage.quotas import spent_today
from storage.schema import calls, jobs

_ADMISSION_LOCK = 7_461_001  # any number, the same in every replica
_TOKEN_BYTES = 24


@dataclass(frozen=True, slots=True)
class Call:
    """One row of `calls`: a create call that may have been made."""

    token: str
    job_id: int
    created_at: int
    akool_id: str | None
    outcome: str | None
    heard: int
    closed_at: int | None


@dataclass(frozen=True, slots=True)
class Arrival:
    """That a call's `_id` has come home: to its job as it is now; None where the job was forgotten meanwhile."""

    job: Job | None


_OF_A_TURN = ("id", "user_id", "state", "reason", "queued_at", "due_at")

_CALL = tuple(calls.c[name] for name in Call.__slots__)


class Ledger:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(
        self, *, at_akool: int, lease_ms: int, most: int, spend_limit: int | None = None
    ) -> Sequence[tuple[Job, str]]:
        """Let queued jobs into the free places at AKOOL (`at_akool` in all), and write their calls down.

        While the breaker is open, that is one job at a time, and seldom. Never are there more calls in 24 hours that
        may have cost something than `spend_limit`.

        Turns are fair between users: whoever has the fewest jobs there comes first, then who waits longest.
        Returned are jobs in `submitting`, held by the caller, each with its call's token. Only who got the token
        here may make the call, and only once.
        """
        now = self._database.now()
        async with self._database.begin() as connection:
            if self._database.is_postgres:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _ADMISSION_LOCK})
            busy = select(func.count()).where(IS_OPEN, _takes_a_place(jobs))
            free = at_akool - (await connection.execute(busy)).scalar_one()
            if spend_limit is not None:
                free = min(free, spend_limit - await spent_today(connection, now))
            turns = (await connection.execute(_fair_turns(now).limit(max(0, min(free, most))))).all()
            if turns:
                turns = turns[: await places_left(connection, len(turns), now)]
            intended = [await self._intend(connection, job_id, now, lease_ms) for (job_id,) in turns]
        return [admitted for admitted in intended if admitted is not None]

    async def may_admit(self, *, at_akool: int, spend_limit: int | None = None) -> bool:
        """Whether `admit` would let somebody in now; a cheap look before it."""
        now = self._database.now()
        async with self._database.begin() as connection:
            if not await connection.scalar(_MAY_ADMIT, {"now": now, "at_akool": at_akool}):
                return False
            return spend_limit is None or await spent_today(connection, now) < spend_limit

    async def spent_today(self) -> int:
        """How many create calls of the last 24 hours may have cost something."""
        async with self._database.begin() as connection:
            return await spent_today(connection, self._database.now())

    async def _intend(
        self, connection: AsyncConnection, job_id: int, now: int, lease_ms: int
    ) -> tuple[Job, str] | None:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        claimed = {"claim": secrets.token_hex(8), "due_at": now + lease_ms, "rung": 0, "submitted_at": now}
        attempts = {"attempts": jobs.c.attempts}
        job = await change(
            connection,
            (jobs.c.id == job_id) & (jobs.c.state == State.QUEUED),
            entered(State.SUBMITTING, now) | attempts | claimed,
        )
        if job is None:  # cancelled meanwhile
            return None
        await connection.execute(insert(calls).values(token=token, job_id=job_id, created_at=now))
        return job, token

    async def arrived(self, token: str, akool_id: str, *, ask_at: int) -> Arrival | None:
        """AKOOL has the job under `akool_id`: its answer or its callback says so. Idempotent.

        The job goes to `rendering`, due at `ask_at`, unless it is further already. None where the token is unknown,
        or was given to another video.
        """
        now = self._database.now()
        async with self._database.begin() as connection:
            call = (await connection.execute(select(*_CALL).where(calls.c.token == token))).one_or_none()
            if call is None:
                return None
            job = await _locked(connection, call.job_id)
            named = await connection.execute(
                update(calls)
                .where(calls.c.token == token, func.coalesce(calls.c.akool_id, akool_id) == akool_id)
                .values(akool_id=akool_id, outcome="accepted")
                .returning(calls.c.token)
            )
            if named.one_or_none() is None:
                return None
            waiting = and_(jobs.c.id == call.job_id, jobs.c.state.in_((State.QUEUED, State.SUBMITTING)))
            rendering = {"akool_id": akool_id, "paid": 1, "reason": None, "due_at": ask_at, "claim": None, "rung": 0}
            changed = await change(connection, waiting, entered(State.RENDERING, now) | rendering)
            if changed is None and call.akool_id is None:  # it ended meanwhile, and cost something all the same
                changed = await change(connection, jobs.c.id == call.job_id, {"paid": 1})
            return Arrival(changed or job)

    async def close(self, job: Job, *, outcome: str, state: State, charged: bool | None = None, **columns: Any) -> Job:
        """Close the job's open call and move the job on, in one transaction.

        A call that was accepted stays so, whatever the outcome of its job. `charged`: whether it cost something, where
        AKOOL tells; what an earlier call of the job may have cost stays. Raises `Overtaken`, and leaves the call
        open, where the job has moved on without us.
        """
        now = self._database.now()
        if charged is not None:
            columns["paid"] = 1 if charged else case((_another_may_have_cost(job), 1), else_=0)
        async with self._database.begin() as connection:
            changed = await change(connection, held(job), moved(job, state, now) | columns)
            if changed is None:
                raise Overtaken
            await close_open_calls(connection, [job.id], outcome, now)
        return changed

    async def risk_again(self, job_id: int, *, user_id: int) -> bool:
        """The owner wants another try although the last call may have been charged: back into the queue."""
        again = {"reason": None, "refused_at": None, "due_at": self._database.now(), "claim": None}
        return await self._decide(job_id, user_id, State.QUEUED, again)

    async def leave(self, job_id: int, *, user_id: int) -> bool:
        """The owner wants no other try after a call whose outcome nobody knows."""
        return await self._decide(job_id, user_id, State.FAILED, {})

    async def _decide(self, job_id: int, user_id: int, state: State, columns: dict[str, Any]) -> bool:
        now = self._database.now()
        unsure = and_(
            jobs.c.id == job_id,
            jobs.c.user_id == user_id,
            jobs.c.state == State.SUBMITTING,
            jobs.c.reason == SUBMIT_UNKNOWN,
        )
        async with self._database.begin() as connection:
            if await change(connection, unsure, entered(state, now) | columns) is None:
                return False
            await close_open_calls(connection, [job_id], "unknown", now)
        return True

    async def cancel(self, job_id: int, *, states: frozenset[State]) -> Job | None:
        """End the job if it is still in one of `states`; None where it is not. Takes it from whoever has it.

        What AKOOL was asked for stays spent; its call is closed, and an answer that comes later still names it.
        """
        now = self._database.now()
        where = (jobs.c.id == job_id) & jobs.c.state.in_(states)
        async with self._database.begin() as connection:
            cancelled = await change(connection, where, entered(State.CANCELLED, now))
            if cancelled is not None:
                await close_open_calls(connection, [job_id], "unknown", now)
        return cancelled

    async def heard(self, token: str, *, rank: int) -> bool:
        """Note how much a callback has told; True where it told more than those before it."""
        async with self._database.begin() as connection:
            told = await connection.execute(
                update(calls)
                .where(calls.c.token == token, calls.c.heard < rank)
                .values(heard=rank)
                .returning(calls.c.token)
            )
            return told.one_or_none() is not None

    async def get(self, token: str) -> Call | None:
        async with self._database.begin() as connection:
            row = (await connection.execute(select(*_CALL).where(calls.c.token == token))).one_or_none()
        return Call(*row) if row else None

    async def of_job(self, job_id: int) -> Sequence[Call]:
        """Every call that was made for a job, oldest first."""
        statement = select(*_CALL).where(calls.c.job_id == job_id).order_by(calls.c.created_at)
        async with self._database.begin() as connection:
            return [Call(*row) for row in await connection.execute(statement)]


def _another_may_have_cost(job: Job) -> ColumnElement[bool]:
    """Whether another call of the job than the one that its video comes from may have cost something."""
    is_another = calls.c.akool_id.is_distinct_from(job.akool_id)
    return exists().where(calls.c.job_id == job.id, is_another, calls.c.outcome.is_distinct_from("refused"))


def _takes_a_place(table: FromClause) -> ColumnElement[bool]:
    """Whether AKOOL may be working on the job, unless its owner was asked and has not answered."""
    is_asked = func.coalesce(table.c.reason, "") == SUBMIT_UNKNOWN
    return table.c.state.in_(AT_AKOOL) & ~is_asked


# Built once, since it runs many times a job.
_MAY_ADMIT = select(
    and_(
        exists().where(IS_OPEN, jobs.c.state == State.QUEUED, jobs.c.due_at <= bindparam("now")),
        select(func.count()).where(IS_OPEN, _takes_a_place(jobs)).scalar_subquery() < bindparam("at_akool"),
        ~IS_SHUT,
    )
)


def _fair_turns(now: int) -> Any:
    # Named twice, and so read once: SQLite would walk each user's whole past to have them in the window's order.
    here = select(*(jobs.c[name] for name in _OF_A_TURN)).where(IS_OPEN).cte("open_jobs")
    busy = (
        select(here.c.user_id, func.count().label("places"))
        .where(_takes_a_place(here))
        .group_by(here.c.user_id)
        .subquery()
    )
    nth = func.row_number().over(partition_by=here.c.user_id, order_by=(here.c.queued_at, here.c.id))
    turns = (
        select(here.c.id, here.c.queued_at, (func.coalesce(busy.c.places, 0) + nth).label("turn"))
        .outerjoin_from(here, busy, busy.c.user_id == here.c.user_id)
        .where(here.c.state == State.QUEUED, here.c.due_at <= now)
        .subquery()
    )
    return select(turns.c.id).order_by(turns.c.turn, turns.c.queued_at, turns.c.id)


async def close_open_calls(connection: AsyncConnection, job_ids: Collection[int], outcome: str, now: int) -> None:
    """Close the open calls of jobs that are locked."""
    await connection.execute(
        update(calls)
        .where(calls.c.job_id.in_(job_ids), calls.c.closed_at.is_(None))
        .values(outcome=func.coalesce(calls.c.outcome, outcome), closed_at=now)
    )


async def _locked(connection: AsyncConnection, job_id: int) -> Job | None:
    """The job, locked before its calls: everybody takes the two in this order."""
    row = (await connection.execute(select(*COLUMNS).where(jobs.c.id == job_id).with_for_update())).one_or_none()
    return Job.of(row) if row else None
