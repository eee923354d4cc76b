"""Jobs that are still collecting: which half goes where, and when both are there.

A message becomes part of a job in two steps. It is noted in `incoming` at once, in the same transaction that
marks its update as handled; it becomes the job's photo or voice once it has been prepared. So a file that turns
out to be useless never displaces a good one.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, exists, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.jobs import COLUMNS, Job, Overtaken, State, change, entered, held, look_again, rung
from storage.quotas import Limits, refusal
from storage.schema import jobs
from storage.updates import mark_handled

_PREPARED = {
    "photo_key": ("photo_message_id", "photo_key", "photo_accepted"),
    "voice_key": ("voice_message_id", "voice_key", "voice_ms"),
}
_KEPT_FOR_ANOTHER_TRY = (
    *("chat_id", "thread_id", "user_id"),
    *_PREPARED["photo_key"],
    *_PREPARED["voice_key"],
    "video_key",
)
_SILENCE_MS = 2000  # most halves are prepared by then, and there is something to say


class Kind(StrEnum):
    PHOTO = "photo"
    VOICE = "voice"


@dataclass(frozen=True, slots=True)
class Half:
    """A message with a file, as Telegram described it. `kind` is a guess until the file has been looked at."""

    kind: Kind
    message_id: int
    file_id: str
    file_size: int | None = None

    @classmethod
    def of(cls, value: dict[str, Any]) -> "Half":
        return cls(**{**value, "kind": Kind(value["kind"])})


def incoming(job: Job) -> list[Half]:
    """The halves that have arrived and are not prepared yet, oldest first."""
    return [Half.of(value) for value in json.loads(job.incoming)]


def is_complete(job: Job) -> bool:
    """Whether both halves are there, prepared or on their way."""
    kinds = {half.kind for half in incoming(job)}
    return (job.has_photo or Kind.PHOTO in kinds) and (job.voice_key is not None or Kind.VOICE in kinds)


class Drafts:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, halves: Sequence[Half], *, update_id: int, chat_id: int, thread_id: int, user_id: int) -> bool:
        """Note what an update brought: in the sender's newest draft that lacks something, else in a new one.

        The newest of each kind counts until the other kind is there; then a pair is closed, however long its files
        take to arrive, and what comes next begins the next pair. So none ever gets another's half.

        Two halves at once (a voice that replies to a photo) belong together, in the draft that has that photo or
        in one of their own. False where the update was handled before.
        """
        now = self._database.now()
        async with self._database.begin() as connection:
            if not await mark_handled(connection, update_id):
                return False
            draft = await self._draft_for(connection, halves, chat_id, thread_id, user_id)
            if draft is None:
                whose = {"chat_id": chat_id, "thread_id": thread_id, "user_id": user_id}
                await connection.execute(insert(jobs).values(**_new(now), **whose, incoming=_dump(halves)))
            else:
                noted = [half for half in incoming(draft) if half not in halves]
                await change(connection, jobs.c.id == draft.id, {**rung(now), "incoming": _dump([*noted, *halves])})
        return True

    async def settle(self, job: Job, half: Half, **columns: Any) -> Job:
        """Take `half` from the incoming ones, prepared (its columns are given) or refused.

        If it was not what it claimed to be, the draft may lack what began a newer one: they become one again.
        Raises `Overtaken`.
        """
        now = self._database.now()
        async with self._database.begin() as connection:
            row = (await connection.execute(select(*COLUMNS).where(held(job)).with_for_update())).one_or_none()
            if row is None:
                raise Overtaken
            left = [other for other in incoming(Job.of(row)) if other.message_id != half.message_id]
            settled = await change(
                connection,
                held(job),
                {"incoming": _dump(left), **look_again(now), "attempts": 0, "updated_at": now, **columns},
            )
            if settled is None:
                raise Overtaken
            return settled if is_complete(settled) else await self._absorb_newer(connection, settled)

    async def _absorb_newer(self, connection: AsyncConnection, draft: Job) -> Job:
        newer = next(
            (
                job
                for job in await _drafts(connection, draft.chat_id, draft.thread_id, draft.user_id)
                if job.id > draft.id
            ),
            None,
        )
        if newer is None or is_complete(newer):
            return draft
        prepared = {
            name: getattr(newer, name) for key, names in _PREPARED.items() if getattr(newer, key) for name in names
        }
        ended = entered(State.CANCELLED, self._database.now()) | {"reason": "merged"}
        await change(connection, jobs.c.id == newer.id, ended)
        both = _dump([*incoming(draft), *incoming(newer)])
        return await change(connection, held(draft), {**prepared, "incoming": both}) or draft

    async def refuse_all(self, job: Job, *, reason: str, **columns: Any) -> Job | None:
        """End a draft of which nothing is left, unless another half has arrived meanwhile (then None)."""
        now = self._database.now()
        unchanged = held(job) & (jobs.c.incoming == job.incoming)
        async with self._database.begin() as connection:
            return await change(connection, unchanged, entered(State.FAILED, now) | {"reason": reason} | columns)

    async def accept_photo(self, job_id: int, *, user_id: int) -> bool:
        """The owner wants the photo as it is, although no face was found in it."""
        now = self._database.now()
        where = and_(
            jobs.c.id == job_id,
            jobs.c.user_id == user_id,
            jobs.c.state == State.COLLECTING,
            jobs.c.photo_key.isnot(None),
        )
        async with self._database.begin() as connection:
            values = {**rung(now), **look_again(now), "photo_accepted": 1}
            return await change(connection, where, values) is not None

    async def again(self, job_id: int, *, user_id: int) -> bool:
        """Begin anew with what a failed job had; False where that was done already, or its halves are gone."""
        now = self._database.now()
        newer = jobs.alias()
        is_repeated = exists().where(
            newer.c.id > jobs.c.id, newer.c.photo_key == jobs.c.photo_key, newer.c.voice_key == jobs.c.voice_key
        )
        failed = (
            select(*COLUMNS)
            .where(jobs.c.id == job_id, jobs.c.user_id == user_id, jobs.c.state == State.FAILED, ~is_repeated)
            .where(jobs.c.photo_key.isnot(None), jobs.c.voice_key.isnot(None))
            .with_for_update()
        )
        async with self._database.begin() as connection:
            row = (await connection.execute(failed)).one_or_none()
            if row is None:
                return False
            kept = {name: getattr(row, name) for name in _KEPT_FOR_ANOTHER_TRY}
            # What is rendered, and paid for, need only be sent.
            state = State.DELIVERING if row.video_key else State.COLLECTING
            await connection.execute(insert(jobs).values(**_new(now, state), **kept))
        return True

    async def enqueue(self, job: Job, *, limits: Limits) -> Job:
        """Put a draft whose halves are both stored into the queue, or fail it for a quota that is used up.

        Returned still collecting (and held) where another half has arrived meanwhile. Raises `Overtaken`.
        """
        now = self._database.now()
        queued = {"queued_at": now, "due_at": now, "claim": None, "rung": 0}
        async with self._database.begin() as connection:
            reason = await refusal(connection, job, limits, now, locks=self._database.is_postgres)
            values = entered(State.FAILED, now) | {"reason": reason} if reason else entered(State.QUEUED, now) | queued
            changed = await change(connection, held(job) & (jobs.c.incoming == "[]"), values)
            changed = changed or await change(connection, held(job), {"updated_at": now})
        if changed is None:
            raise Overtaken
        return changed

    async def _draft_for(
        self, connection: AsyncConnection, halves: Sequence[Half], chat_id: int, thread_id: int, user_id: int
    ) -> Job | None:
        drafts = await _drafts(connection, chat_id, thread_id, user_id)
        if len(halves) > 1:
            photo = next(half for half in halves if half.kind is Kind.PHOTO)
            fitting = [draft for draft in drafts if not is_complete(draft) and _has_message(draft, photo.message_id)]
        else:
            fitting = [draft for draft in drafts if not is_complete(draft)]
        return fitting[0] if fitting else None


async def _drafts(connection: AsyncConnection, chat_id: int, thread_id: int, user_id: int) -> list[Job]:
    """The drafts of a conversation, newest first, locked."""
    statement = (
        select(*COLUMNS)
        .where(
            jobs.c.chat_id == chat_id,
            jobs.c.thread_id == thread_id,
            jobs.c.user_id == user_id,
            jobs.c.state == State.COLLECTING,
        )
        .order_by(jobs.c.id.desc())
        .with_for_update()
    )
    return [Job.of(row) for row in await connection.execute(statement)]


def _new(now: int, state: State = State.COLLECTING) -> dict[str, Any]:
    return {
        "state": state,
        "due_at": now,
        "status_at": now + _SILENCE_MS,
        "created_at": now,
        "updated_at": now,
        "timeline": f"{state} {now}\n",
    }


def _has_message(draft: Job, message_id: int) -> bool:
    return draft.photo_message_id == message_id or any(half.message_id == message_id for half in incoming(draft))


def _dump(halves: Sequence[Half]) -> str:
    return json.dumps([asdict(half) for half in halves])
