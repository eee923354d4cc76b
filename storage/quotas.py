"""Quotas: how many videos a person, a group and the whole bot may have in 24 hours, and how many at a time.

What failed or was cancelled without having cost anything does not count. An identity that several people share (an
anonymous admin, a channel: its id is below 0) has no quota of its own; in a group the group's holds.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, exists, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.jobs import Job, State
from storage.schema import calls, jobs, peers

_DAY_MS = 24 * 3600 * 1000
_SPEND_LOCK = 7_461_003  # any number, the same in every replica
_PENDING = (State.QUEUED, State.SUBMITTING, State.RENDERING, State.SAVING, State.DELIVERING)

TOO_MANY_PENDING = "too_many_pending"
DAILY_LIMIT = "daily_limit"
DAILY_LIMIT_CHAT = "daily_limit_chat"
SPEND_LIMIT = "spend_limit"


@dataclass(frozen=True, slots=True)
class Limits:
    """Videos in 24 hours for a person (`daily`) and a group, jobs of a person at a time (`pending`); 0: no limit.

    `spend`: create calls of the whole bot in 24 hours; None: no limit.
    """

    daily: int = 0
    daily_chat: int = 0
    pending: int = 0
    spend: int | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """How many videos are left today, to the person and to the group; None: there is no limit."""

    daily: int | None
    chat: int | None


class Quotas:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def left(self, *, chat_id: int, user_id: int, limits: Limits) -> Left:
        now = self._database.now()
        async with self._database.begin() as connection:
            return Left(
                await _left(connection, jobs.c.user_id, user_id, limits.daily, now) if user_id > 0 else None,
                await _left(connection, jobs.c.chat_id, chat_id, limits.daily_chat, now) if chat_id < 0 else None,
            )


async def refusal(connection: AsyncConnection, job: Job, limits: Limits, now: int, *, locks: bool) -> str | None:
    """Why the job may not be queued; None where it may. `locks`: against others in the same moment (PostgreSQL)."""
    if locks:
        for lock in (job.user_id, job.chat_id, *([] if limits.spend is None else [_SPEND_LOCK])):
            await connection.execute(select(func.pg_advisory_xact_lock(lock)))
    if job.user_id > 0:
        if limits.pending and await _pending(connection, job.user_id) >= limits.pending:
            return TOO_MANY_PENDING
        if await _left(connection, jobs.c.user_id, job.user_id, limits.daily, now) == 0:
            return DAILY_LIMIT
    if job.chat_id < 0 and await _left(connection, jobs.c.chat_id, job.chat_id, limits.daily_chat, now) == 0:
        return DAILY_LIMIT_CHAT
    if limits.spend is not None and await _committed(connection, now) >= limits.spend:
        return SPEND_LIMIT
    return None


def spent_since(since: int) -> Any:
    """How many create calls since then (ms since the epoch) may have cost something, as a scalar subquery."""
    charged_nothing = exists().where(jobs.c.id == calls.c.job_id, jobs.c.state == State.FAILED, jobs.c.paid == 0)
    may_have_cost = and_(calls.c.created_at > since, func.coalesce(calls.c.outcome, "") != "refused", ~charged_nothing)
    return select(func.count()).select_from(calls).where(may_have_cost).scalar_subquery()


async def spent_today(connection: AsyncConnection, now: int) -> int:
    return int(await connection.scalar(select(spent_since(now - _DAY_MS))) or 0)


async def _committed(connection: AsyncConnection, now: int) -> int:
    """What is spent today, and what will be by those that wait already."""
    waiting = await connection.scalar(select(func.count()).select_from(jobs).where(jobs.c.state == State.QUEUED))
    return await spent_today(connection, now) + int(waiting or 0)


async def _pending(connection: AsyncConnection, user_id: int) -> int:
    statement = select(func.count()).select_from(jobs).where(jobs.c.user_id == user_id, jobs.c.state.in_(_PENDING))
    return int(await connection.scalar(statement) or 0)


async def _left(
    connection: AsyncConnection, whose: ColumnElement[int], peer_id: int, usual: int, now: int
) -> int | None:
    """How many of a peer's videos are left in these 24 hours; None where there is no limit."""
    chosen = await connection.scalar(select(peers.c.daily_limit).where(peers.c.id == peer_id))
    limit = usual if chosen is None else chosen
    if not limit:
        return None
    used = (
        select(func.count()).select_from(jobs).where(whose == peer_id, jobs.c.queued_at > now - _DAY_MS, counts(jobs))
    )
    return max(0, limit - int(await connection.scalar(used) or 0))


def counts(table: FromClause) -> ColumnElement[bool]:
    """Whether a job counts as a video: not where it came to nothing and cost nothing."""
    return or_(table.c.state.not_in((State.FAILED, State.CANCELLED)), table.c.paid != 0)
