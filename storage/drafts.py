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

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.job import COLUMNS, Job, State
from storage.jobs import Overtaken, add, change, entered, held, look_again, rung
from storage.quotas import Limits, refusal
from storage.schema import jobs
from storage.updates import mark_handled

PREPARED = {
    "photo_key": ("photo_message_id", "photo_key", "photo_accepted"),
    "voice_key": ("voice_message_id", "voice_key", "voice_ms"),
}
"""What a half that is prepared has left in its job's row, by the column that tells that it is there."""

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
    album: str | None = None
    """Telegram's `media_group_id`."""

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

    async def add(
        self,
        halves: Sequence[Half],
        *,
        update_id: int,
        chat_id: int,
        thread_id: int,
        user_id: int,
        **asked: Any,
    ) -> bool:
        """Note what an update brought: in the sender's newest draft that lacks something, else in a new one.

        The newest of each kind counts until the other kind is there; then a pair is closed, however long its files
        take to arrive, and what comes next begins the next pair. So none ever gets another's half. Of an album only
        the first of each kind counts.

        Two halves at once (a voice that replies to a photo) belong together, in the draft that has that photo, or
        another of its album, or in one of their own. None at all (`/talk` alone) opens a draft, or asks again.

        `asked` are the columns that tell how it was asked for. False where the update was handled before.
        """
        now = self._database.now()
        async with self._database.begin() as connection:
            if not await mark_handled(connection, update_id):
                return False
            if len(halves) == 1 and await _is_of_known_album(connection, chat_id, halves[0]):
                return True
            draft = await self._draft_for(connection, halves, chat_id, thread_id, user_id)
            if len(halves) > 1:  # whoever names one of an album by a reply has chosen it
                asked["album"] = None
            elif halves and halves[0].album:
                asked["album"] = halves[0].album
            if draft is None:
                whose = {"chat_id": chat_id, "thread_id": thread_id, "user_id": user_id}
                if not halves:  # to ask is all that there is to do
                    asked["status_at"] = now
                await add(connection, {**new_draft(now), **whose, **asked, "incoming": _dump(halves)})
                return True
            edited = {(half.kind, half.message_id) for half in halves}
            noted = [half for half in incoming(draft) if (half.kind, half.message_id) not in edited]
            news = {"incoming": _dump([*noted, *halves])} if halves else ask_anew(now)
            await change(connection, jobs.c.id == draft.id, rung(now) | asked | news)
        return True

    async def with_message(self, chat_id: int, message_id: int) -> Job | None:
        """The newest job that a message is a half of."""
        statement = select(*COLUMNS).where(
            jobs.c.chat_id == chat_id,
            or_(
                jobs.c.photo_message_id == message_id,
                jobs.c.voice_message_id == message_id,
                jobs.c.incoming.contains(f'"message_id": {message_id},'),
            ),
        )
        async with self._database.begin() as connection:
            row = (await connection.execute(statement.order_by(jobs.c.id.desc()).limit(1))).one_or_none()
        return Job.of(row) if row else None

    async def has_open(self, *, chat_id: int, thread_id: int, user_id: int) -> bool:
        """Whether the sender has a draft there that lacks something."""
        async with self._database.begin() as connection:
            drafts = await drafts_of(connection, chat_id, thread_id, user_id)
        return not all(is_complete(draft) for draft in drafts)

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
            left = [other for other in incoming(Job.of(row)) if other != half]
            settled = await change(
                connection,
                held(job),
                {"incoming": _dump(left), **look_again(now), "attempts": 0, "faults": 0, "updated_at": now, **columns},
            )
            if settled is None:
                raise Overtaken
            return settled if is_complete(settled) else await self._absorb_newer(connection, settled)

    async def _absorb_newer(self, connection: AsyncConnection, draft: Job) -> Job:
        newer = next(
            (
                job
                for job in await drafts_of(connection, draft.chat_id, draft.thread_id, draft.user_id)
                if job.id > draft.id
            ),
            None,
        )
        if newer is None or is_complete(newer):
            return draft
        prepared = {
            name: getattr(newer, name) for key, names in PREPARED.items() if getattr(newer, key) for name in names
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
        drafts = await drafts_of(connection, chat_id, thread_id, user_id)
        fitting = [draft for draft in drafts if not is_complete(draft)]
        if len(halves) > 1:
            photo = next(half for half in halves if half.kind is Kind.PHOTO)
            fitting = [draft for draft in fitting if _is_empty(draft) or _has_photo(draft, photo)]
        return fitting[0] if fitting else None


async def drafts_of(connection: AsyncConnection, chat_id: int, thread_id: int, user_id: int) -> list[Job]:
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


def new_draft(now: int, state: State = State.COLLECTING) -> dict[str, Any]:
    """What every new row begins with. Its status message keeps still at first: most halves are prepared soon."""
    return {
        "state": state,
        "due_at": now,
        "status_at": now + _SILENCE_MS,
        "created_at": now,
        "updated_at": now,
        "timeline": f"{state} {now}\n",
    }


def ask_anew(now: int) -> dict[str, Any]:
    """What lets a draft's question be said once more, below what was written meanwhile."""
    return {"status_shown": None, **look_again(now)}


async def _is_of_known_album(connection: AsyncConnection, chat_id: int, half: Half) -> bool:
    """Whether another one of the half's album, of the same kind, was taken."""
    if half.album is None:
        return False
    statement = select(*COLUMNS).where(jobs.c.chat_id == chat_id, jobs.c.album == half.album)
    found = [Job.of(row) for row in await connection.execute(statement)]
    key = "photo_key" if half.kind is Kind.PHOTO else "voice_key"
    return any(
        getattr(job, key) is not None
        or job.state is not State.COLLECTING
        or any(other.kind is half.kind and other.message_id != half.message_id for other in incoming(job))
        for job in found
    )


def _is_empty(draft: Job) -> bool:
    return not (draft.photo_key or draft.voice_key or incoming(draft))


def _has_photo(draft: Job, photo: Half) -> bool:
    """Whether the draft has this very photo, or one that was sent together with it."""
    is_of_album = photo.album is not None and draft.album == photo.album
    is_half = draft.photo_message_id == photo.message_id
    return is_of_album or is_half or any(half.message_id == photo.message_id for half in incoming(draft))


def _dump(halves: Sequence[Half]) -> str:
    return json.dumps([asdict(half) for half in halves])
