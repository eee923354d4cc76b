"""Quotas: how many videos a person, a group and the whole bot may have in 24 hours, and a person at one time.

What failed or was cancelled without having cost anything does not count. An identity that several people share (an
anonymous admin, a channel: its id is below 0) has no quota of its own; in a group the group's holds.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.job import CHAT_GONE, IS_OPEN, NOT_ALLOWED, OPEN, SUBMIT_UNKNOWN, Job, State
from storage.schema import calls, jobs, notices, peers

_DAY_MS = 24 * 3600 * 1000
_SPEND_LOCK = (7_461_003, 0)  # any numbers, the same in every replica; two, so that it is nobody's id
_PENDING = OPEN - {State.COLLECTING}

TOO_MANY_PENDING = "too_many_pending"
DAILY_LIMIT = "daily_limit"
DAILY_LIMIT_CHAT = "daily_limit_chat"
SPEND_LIMIT = "spend_limit"


@dataclass(frozen=True, slots=True)
class Limits:
    """Videos in 24 hours for a person (`daily`) and a group, jobs of a person at one time (`pending`); 0: no limit.

    `spend`: create calls of the whole bot in 24 hours; None: no limit.
    """

    daily: int = 0
    daily_chat: int = 0
    pending: int = 0
    spend: int | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """How many videos are left today, and of how many, to the person and to the group; None: there is no limit."""

    daily: int | None
    daily_of: int | None
    chat: int | None
    chat_of: int | None


class Quotas:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def left(self, chat_id: int, user_id: int, limits: Limits) -> Left:
        now = self._database.now()
        async with self._database.begin() as connection:
            limits = await _limits_of(connection, chat_id, user_id, limits)
            daily, chat = limits.daily or None, limits.daily_chat or None
            return Left(
                daily=await _left(connection, daily, _videos_of(user_id, now)),
                daily_of=daily,
                chat=await _left(connection, chat, _videos(jobs.c.chat_id == chat_id, now)),
                chat_of=chat,
            )


async def refusal(connection: AsyncConnection, job: Job, limits: Limits, now: int, *, locks: bool) -> str | None:
    """Why the job may not be queued; None where it may. `locks`: against others in the same moment (PostgreSQL)."""
    limits = await _limits_of(connection, job.chat_id, job.user_id, limits)
    if locks:
        await _lock(connection, job, limits)
    rules = (
        (TOO_MANY_PENDING, limits.pending or None, _pending(job.user_id)),
        (DAILY_LIMIT, limits.daily or None, _videos_of(job.user_id, now)),
        (DAILY_LIMIT_CHAT, limits.daily_chat or None, _videos(jobs.c.chat_id == job.chat_id, now)),
        (SPEND_LIMIT, limits.spend, _committed(now)),
    )
    for reason, limit, used in rules:
        if await _left(connection, limit, used) == 0:
            return reason
    return None


async def spent_today(connection: AsyncConnection, now: int) -> int:
    """How many create calls of the last 24 hours may have cost something."""
    return int(await connection.scalar(_SPENT, {"since": now - _DAY_MS}) or 0)


_COST_NOTHING = exists().where(jobs.c.id == calls.c.job_id, jobs.c.state == State.FAILED, jobs.c.paid == 0)

# Built once, since it runs at each look at the queue. A call whose job is gone counts.
_SPENT = (
    select(func.count())
    .select_from(calls)
    .where(calls.c.created_at > bindparam("since"), calls.c.outcome.is_distinct_from("refused"), ~_COST_NOTHING)
)


async def _limits_of(connection: AsyncConnection, chat_id: int, user_id: int, usual: Limits) -> Limits:
    """The limits that hold for this person in this chat: the operator may have set others for either."""
    chosen = select(peers.c.id, peers.c.daily_limit).where(peers.c.id.in_((chat_id, user_id)))
    set_for = {peer_id: limit for peer_id, limit in await connection.execute(chosen) if limit is not None}
    is_shared, is_group = user_id < 0, chat_id < 0
    return Limits(
        daily=0 if is_shared else set_for.get(user_id, usual.daily),
        daily_chat=set_for.get(chat_id, usual.daily_chat) if is_group else 0,
        pending=0 if is_shared else usual.pending,
        spend=usual.spend,
    )


async def _lock(connection: AsyncConnection, job: Job, limits: Limits) -> None:
    """One at a time for each limit, always in this order, or two could share the last place."""
    locks = (
        (limits.pending or limits.daily, (job.user_id,)),
        (limits.daily_chat, (job.chat_id,)),
        (limits.spend is not None, _SPEND_LOCK),
    )
    for is_limited, key in locks:
        if is_limited:
            await connection.execute(select(func.pg_advisory_xact_lock(*key)))


async def _left(connection: AsyncConnection, limit: int | None, used: Select[Any]) -> int | None:
    return None if limit is None else max(0, limit - int(await connection.scalar(used) or 0))


def _pending(user_id: int) -> Select[Any]:
    """Those that are worked on, not those that wait for somebody: their owner, or a chat that may never come back."""
    waits = func.coalesce(jobs.c.reason, "").in_((SUBMIT_UNKNOWN, CHAT_GONE, NOT_ALLOWED))
    return select(func.count()).where(IS_OPEN, jobs.c.user_id == user_id, jobs.c.state.in_(_PENDING), ~waits)


def _videos(whose: ColumnElement[bool], now: int) -> Select[Any]:
    return select(func.count()).where(whose, is_counted(now))


def is_counted(now: int) -> ColumnElement[bool]:
    """Whether a job is one of the videos of these 24 hours."""
    cost_nothing = jobs.c.state.in_((State.FAILED, State.CANCELLED)) & (jobs.c.paid == 0)
    return (jobs.c.queued_at > now - _DAY_MS) & ~cost_nothing


def _videos_of(user_id: int, now: int) -> Select[Any]:
    """With those whose jobs were forgotten since, or `/forget` would be the way to have more."""
    is_theirs = notices.c.key.startswith(forgotten_video(user_id, ""))
    forgotten = select(func.count()).where(is_theirs, notices.c.at > now - _DAY_MS)
    return select(_videos(jobs.c.user_id == user_id, now).scalar_subquery() + forgotten.scalar_subquery())


def forgotten_video(user_id: int, job_id: int | str) -> str:
    """The notice that stands for a forgotten job, until it no longer counts."""
    return f"forgotten video {user_id} {job_id}"


def _committed(now: int) -> Select[Any]:
    """What is spent today and what will be by those that wait; at one look, since they turn into each other."""
    waiting = select(func.count()).where(IS_OPEN, jobs.c.state == State.QUEUED)
    return select(_SPENT.params(since=now - _DAY_MS).scalar_subquery() + waiting.scalar_subquery())
