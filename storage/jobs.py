"""The queue of jobs, and how a job's row changes.

A state changes only by a guarded update: the row must still be in the state it was read in and still carry the
worker's claim. `Overtaken` says that somebody was first: it is no error, one stops quietly.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Integer, and_, bindparam, case, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import NEWS, Database, among
from storage.job import CHAT_GONE, COLUMNS, IS_OPEN, OPEN, TERMINAL, TRANSITIONS, Job, State
from storage.schema import jobs, peers

_MESSAGES = ("photo_message_id", "voice_message_id", "asked_message_id", "status_message_id", "status_shown")
_RENDERED_LATELY = 1000  # jobs
_PAGE = 500
_PARKED_MS = 10 * 60_000  # beyond any lease or back-off: a status that waits for its chat


class Overtaken(Exception):
    """Somebody else took the row over or moved it on; whoever sees this stops."""


def look_again(now: int) -> dict[str, Any]:
    """What wants the status message looked at: now, or once more when the look that is under way is over."""
    at = case((jobs.c.status_claim.is_(None), now), else_=jobs.c.status_at)
    return {"status_rung": 1, "status_at": at}


def entered(state: State, now: int) -> dict[str, Any]:
    """What every change of state writes: the state, a line in the story, and a look at the status message."""
    values: dict[str, Any] = {
        "state": state,
        "attempts": 0,
        "faults": 0,
        "rung": 0,  # a bell of the last state means nothing in this one
        "updated_at": now,
        **look_again(now),
        "timeline": jobs.c.timeline + f"{state} {now}\n",
    }
    if state in TERMINAL:
        values |= {"due_at": None, "claim": None, "incoming": "[]"}
    return values


def moved(job: Job, state: State, now: int) -> dict[str, Any]:
    """`entered`, where a way leads there from the job's state; else `ValueError`."""
    if state not in TRANSITIONS.get(job.state, ()):
        raise ValueError(f"no way leads from {job.state} to {state}")
    return entered(state, now)


async def change(connection: AsyncConnection, where: ColumnElement[bool], values: Mapping[str, Any]) -> Job | None:
    """Update the one row that matches, and return it as it is now; None where none matched."""
    changed = await change_all(connection, where, values)
    if len(changed) > 1:
        raise ValueError("more than one job matches")
    return changed[0] if changed else None


async def change_all(
    connection: AsyncConnection, where: ColumnElement[bool], values: Mapping[str, Any]
) -> Sequence[Job]:
    """Update the rows that match, and return them as they are now."""
    statement = update(jobs).where(where).values(**values).returning(*COLUMNS)
    changed = [Job.of(row) for row in await connection.execute(statement)]
    if "state" in values:
        connection.info.get(NEWS, []).extend(changed)
    return changed


async def add(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """A new row."""
    statement = insert(jobs).values(**values).returning(*COLUMNS)
    connection.info.get(NEWS, []).extend(Job.of(row) for row in await connection.execute(statement))


# Built once, since they run many times a job, and building them costs more than running them.
_CLAIM = (
    update(jobs)
    .where(
        among(
            jobs.c.id,
            select(jobs.c.id)
            .where(jobs.c.due_at <= bindparam("now"), jobs.c.state != State.QUEUED)
            .order_by(jobs.c.due_at)
            .limit(bindparam("most", type_=Integer))
            .with_for_update(skip_locked=True),
        )
    )
    .values(claim=bindparam("claimed_by"), due_at=bindparam("until"), rung=0)
    .returning(*COLUMNS)
)
_IS_AWAITED = select(
    exists().where(
        jobs.c.chat_id == bindparam("chat"),
        or_(
            and_(jobs.c.state == State.DELIVERING, jobs.c.reason == CHAT_GONE),
            jobs.c.status_at > bindparam("parked"),
        ),
    )
)
_NEXT_DUE = select(func.min(jobs.c.due_at)).where(
    IS_OPEN, ~((jobs.c.state == State.QUEUED) & (jobs.c.due_at <= bindparam("now")))
)


class Jobs:
    """The queue (a WHERE clause on `due_at`), claims with fencing tokens, and guarded transitions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reading ---

    async def get(self, job_id: int) -> Job | None:
        async with self._database.begin() as connection:
            row = (await connection.execute(select(*COLUMNS).where(jobs.c.id == job_id))).one_or_none()
        return Job.of(row) if row else None

    async def list(
        self,
        *,
        states: Sequence[State] | frozenset[State] = (),
        chat_id: int | None = None,
        user_id: int | None = None,
        limit: int | None = None,
        before_id: int | None = None,
    ) -> Sequence[Job]:
        """Jobs that match everything given, newest first."""
        statement = select(*COLUMNS).order_by(jobs.c.id.desc()).limit(limit)
        if before_id is not None:
            statement = statement.where(jobs.c.id < before_id)
        if states:
            statement = statement.where(jobs.c.state.in_(states))
        if chat_id is not None:
            statement = statement.where(jobs.c.chat_id == chat_id)
        if user_id is not None:
            statement = statement.where(jobs.c.user_id == user_id)
        async with self._database.begin() as connection:
            return [Job.of(row) for row in await connection.execute(statement)]

    async def pages(self, *, most: int = _PAGE, **matching: Any) -> AsyncIterator[Sequence[Job]]:
        """What `list` gives for the same, however many they are: up to `most` at a time."""
        before_id = None
        while page := await self.list(limit=most, before_id=before_id, **matching):
            yield page
            before_id = page[-1].id

    async def counts(self) -> dict[State, int]:
        """How many jobs are in each state that is no end. Those that have ended are too many to be counted often."""
        statement = select(jobs.c.state, func.count()).where(IS_OPEN).group_by(jobs.c.state)
        async with self._database.begin() as connection:
            found = {State(state): count for state, count in await connection.execute(statement)}
        return {state: found.get(state, 0) for state in State if state in OPEN}

    async def oldest_queued_at(self) -> int | None:
        """Since when the job that waits longest is in the queue; None where it is empty."""
        return await self._database.earliest(jobs.c.queued_at, IS_OPEN, jobs.c.state == State.QUEUED)

    async def render_times(self, *, most: int = 50) -> Sequence[tuple[int, int]]:
        """(length of the voice, time that AKOOL took), both in ms, of the latest renders."""
        newest = select(func.max(jobs.c.id)).scalar_subquery()
        statement = (
            select(jobs.c.voice_ms, jobs.c.rendered_at - jobs.c.submitted_at)
            .where(jobs.c.id > newest - _RENDERED_LATELY)
            .where(jobs.c.rendered_at.isnot(None), jobs.c.submitted_at.isnot(None))
            .order_by(jobs.c.id.desc())
            .limit(most)
        )
        async with self._database.begin() as connection:
            return [(voice_ms, took_ms) for voice_ms, took_ms in await connection.execute(statement)]

    async def place_in_queue(self, job: Job) -> int | None:
        """1 for the job that waits longest, and so on; a hint for people, since turns are fair between users.

        None where the job does not stand in the queue.
        """
        if job.state is not State.QUEUED:
            return None
        ahead = select(func.count()).where(IS_OPEN, jobs.c.state == State.QUEUED, jobs.c.queued_at < job.queued_at)
        async with self._database.begin() as connection:
            return (await connection.execute(ahead)).scalar_one() + 1

    # --- the queue ---

    async def claim(self, most: int, *, lease_ms: int) -> Sequence[Job]:
        """Take up to `most` due jobs: nobody else sees them until the lease is over.

        Queued jobs are not among them: they leave the queue through `Ledger.admit` only.
        """
        now = self._database.now()
        claim = {"now": now, "most": most, "claimed_by": secrets.token_hex(8), "until": now + lease_ms}
        async with self._database.begin() as connection:
            return [Job.of(row) for row in await connection.execute(_CLAIM, claim)]

    async def next_due(self) -> int | None:
        """When the next job falls due. A queued one whose time has come waits for a place, not for the clock."""
        now = self._database.now()
        async with self._database.begin() as connection:
            earliest: int | None = await connection.scalar(_NEXT_DUE, {"now": now})
        return earliest

    async def release_all(self) -> None:
        """Give back every claim of a process that is gone. Only for the sole process on a database."""
        now = self._database.now()
        async with self._database.begin() as connection:
            await connection.execute(
                update(jobs).where(IS_OPEN, jobs.c.claim.isnot(None)).values(claim=None, due_at=now, rung=0)
            )

    async def ring(self, job_id: int, *, state: State) -> None:
        """Make the job due now; a worker that has it looks again before it lets go."""
        now = self._database.now()
        async with self._database.begin() as connection:
            await change(connection, (jobs.c.id == job_id) & (jobs.c.state == state), rung(now))

    # --- what the holder of a claim may do ---

    async def extend(self, job: Job, *, lease_ms: int) -> None:
        """Keep the claim for another lease. Raises `Overtaken`."""
        where = (jobs.c.id == job.id) & (jobs.c.claim == job.claim)
        async with self._database.begin() as connection:
            if await change(connection, where, {"due_at": self._database.now() + lease_ms}) is None:
                raise Overtaken

    async def save(self, job: Job, **columns: Any) -> Job:
        """Write columns and keep the claim. Raises `Overtaken`."""
        return await self._write(job, columns)

    async def advance(self, job: Job, state: State, **columns: Any) -> Job:
        """Go on to the next state; the claim is kept (unless the state ends the job). Raises `Overtaken`."""
        return await self._write(job, moved(job, state, self._database.now()) | columns)

    async def release(self, job: Job, *, due_at: int, **columns: Any) -> None:
        """Give the claim back, to be due at `due_at`, or at once where the bell rang. Raises `Overtaken`."""
        now = self._database.now()
        due = case((jobs.c.rung == 1, now), else_=due_at)
        await self._write(job, columns | {"due_at": due, "claim": None, "rung": 0})

    async def retry(self, job: Job, *, due_at: int, **columns: Any) -> None:
        """Give the claim back after a step that did not succeed. Raises `Overtaken`."""
        await self.release(job, due_at=due_at, attempts=job.attempts + 1, **columns)

    async def _write(self, job: Job, values: Mapping[str, Any]) -> Job:
        async with self._database.begin() as connection:
            changed = await change(connection, held(job), {"updated_at": self._database.now(), **values})
        if changed is None:
            raise Overtaken
        return changed

    # --- what anybody may do ---

    async def wake_chat(self, chat_id: int) -> bool:
        """The chat has spoken to us again: bring it the videos and the words that it had refused, if there are any."""
        now = self._database.now()
        async with self._database.begin() as connection:
            if not await connection.scalar(_IS_AWAITED, {"chat": chat_id, "parked": now + _PARKED_MS}):
                return False
            ours = jobs.c.chat_id == chat_id
            refused = ours & (jobs.c.state == State.DELIVERING) & (jobs.c.reason == CHAT_GONE)
            await connection.execute(update(jobs).where(refused).values(**rung(now), reason=None))
            unsaid = ours & (jobs.c.status_at > now + _PARKED_MS)
            await connection.execute(update(jobs).where(unsaid).values(**look_again(now)))
        return True

    async def restyle(self, user_id: int, **columns: Any) -> None:
        """A person has chosen another language or form: their open jobs follow."""
        async with self._database.begin() as connection:
            await connection.execute(
                update(jobs).where(jobs.c.user_id == user_id, jobs.c.state.in_(OPEN)).values(**columns)
            )

    async def move_chat(self, old_id: int, new_id: int) -> None:
        """A group became a supergroup: its jobs go along, and what was chosen for it.

        Message ids do not, and could name others' messages there.

        Whoever is just looking at a status message loses it, since what it would note belongs to the old chat.
        """
        messages = dict.fromkeys(_MESSAGES)
        ours, newer = jobs.c.chat_id == old_id, peers.alias()
        async with self._database.begin() as connection:
            await connection.execute(
                update(jobs).where(ours, jobs.c.state.in_(OPEN)).values(status_at=self._database.now())
            )
            await connection.execute(update(jobs).where(ours).values(chat_id=new_id, status_claim=None, **messages))
            is_known = exists().where(newer.c.id == new_id)
            await connection.execute(update(peers).where(peers.c.id == old_id, ~is_known).values(id=new_id))


def held(job: Job) -> ColumnElement[bool]:
    """The guard: the row as its holder read it."""
    return (jobs.c.id == job.id) & (jobs.c.state == job.state) & (jobs.c.claim == job.claim)


def rung(now: int) -> dict[str, Any]:
    """Due now; and if somebody holds the row, due at once again when it is given back."""
    return {"rung": 1, "due_at": case((jobs.c.claim.is_(None), now), else_=jobs.c.due_at), "updated_at": now}
