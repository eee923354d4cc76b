"""Beginning anew with what is there already: a failed job's halves, or the last photo."""

from typing import Any

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.drafts import PREPARED, Kind, ask_anew, drafts_of, incoming, is_complete, new_draft
from storage.job import COLUMNS, RENDER_FAILED, Job, State
from storage.jobs import add, change, rung
from storage.schema import jobs
from storage.updates import mark_handled

_WHOSE = ("chat_id", "thread_id", "user_id", "language", "is_round", "asked_message_id")
_KEY_OF = {Kind.PHOTO: "photo_key", Kind.VOICE: "voice_key"}


class Repeats:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def again(self, job_id: int, *, user_id: int) -> bool:
        """Try a failed job again; False where that was done already, or its halves are gone.

        What is rendered, and paid for, need only be sent.
        """
        now = self._database.now()
        async with self._database.begin() as connection:
            failed = await _failed(connection, job_id, user_id)
            if failed is None or not failed.photo_key or not failed.voice_key or await _is_repeated(connection, failed):
                return False
            state = State.DELIVERING if failed.video_key else State.COLLECTING
            kept = _columns(failed, (*_WHOSE, *PREPARED["photo_key"], *PREPARED["voice_key"], "video_key"))
            await add(connection, new_draft(now, state) | kept)
        return True

    async def again_without(self, kind: Kind, job_id: int, *, user_id: int) -> bool:
        """Begin anew with what a failed job had but for one half, for which its owner is asked. False: it's over."""
        [kept_key] = set(_KEY_OF.values()) - {_KEY_OF[kind]}
        async with self._database.begin() as connection:
            failed = await _failed(connection, job_id, user_id)
            if failed is None:
                return False
            kept = getattr(failed, kept_key)
            if kept and await _was_used_since(connection, failed, jobs.c[kept_key] == kept):
                return False
            halves = _columns(failed, PREPARED[kept_key]) if kept else {}
            await self._begin(connection, _columns(failed, _WHOSE), halves)
        return True

    async def with_last_photo(
        self, *, update_id: int, chat_id: int, thread_id: int, user_id: int, **asked: Any
    ) -> bool:
        """Begin a draft with the photo that the sender used last in the chat; False where there is none.

        True too where the update was handled before.
        """
        async with self._database.begin() as connection:
            last = await _last_photo(connection, chat_id, user_id)
            if last is None:
                return False
            if await mark_handled(connection, update_id):
                whose = {"chat_id": chat_id, "thread_id": thread_id, "user_id": user_id, **asked}
                await self._begin(connection, whose, _columns(last, PREPARED["photo_key"]))
        return True

    async def use_last_photo(self, job_id: int, *, user_id: int) -> bool:
        """Put the owner's last photo into a draft that has only a voice; False where it is too late for that."""
        now = self._database.now()
        async with self._database.begin() as connection:
            row = (
                await connection.execute(select(*COLUMNS).where(jobs.c.id == job_id).with_for_update())
            ).one_or_none()
            draft = Job.of(row) if row else None
            if draft is None or draft.user_id != user_id or draft.state is not State.COLLECTING or _has_photo(draft):
                return False
            last = await _last_photo(connection, draft.chat_id, user_id)
            if last is None:
                return False
            await change(connection, jobs.c.id == job_id, rung(now) | _columns(last, PREPARED["photo_key"]))
        return True

    async def last_photo(self, *, chat_id: int, user_id: int) -> Job | None:
        """The sender's last job in the chat that has a photo which may be used."""
        async with self._database.begin() as connection:
            return await _last_photo(connection, chat_id, user_id)

    async def _begin(self, connection: AsyncConnection, whose: dict[str, Any], halves: dict[str, Any]) -> None:
        """Give the halves to the sender's draft that lacks something, where it lacks them, else to a new one."""
        now = self._database.now()
        drafts = await drafts_of(connection, whose["chat_id"], whose["thread_id"], whose["user_id"])
        draft = next((draft for draft in drafts if not is_complete(draft)), None)
        if draft is None:
            await add(connection, new_draft(now) | whose | halves | {"status_at": now})
            return
        kinds = {_KEY_OF[half.kind] for half in incoming(draft)}
        lacking = {
            name: halves[name]
            for key, names in PREPARED.items()
            for name in names
            if name in halves and getattr(draft, key) is None and key not in kinds
        }
        await change(connection, jobs.c.id == draft.id, rung(now) | ask_anew(now) | lacking)


async def _is_repeated(connection: AsyncConnection, failed: Job) -> bool:
    """Asked only when the row is locked, since another replica may just have done it."""
    same = (jobs.c.photo_key == failed.photo_key) & (jobs.c.voice_key == failed.voice_key)
    return bool(await connection.scalar(select(exists().where(jobs.c.id > failed.id, same))))


async def _was_used_since(connection: AsyncConnection, failed: Job, same_half: ColumnElement[bool]) -> bool:
    """Whether a later job has gone on with the half; one that still collects is what a press before this has begun."""
    later = (jobs.c.id > failed.id) & (jobs.c.state != State.COLLECTING)
    return bool(await connection.scalar(select(exists().where(later, same_half))))


async def _failed(connection: AsyncConnection, job_id: int, user_id: int) -> Job | None:
    statement = select(*COLUMNS).where(jobs.c.id == job_id, jobs.c.user_id == user_id, jobs.c.state == State.FAILED)
    row = (await connection.execute(statement.with_for_update())).one_or_none()
    return Job.of(row) if row else None


async def _last_photo(connection: AsyncConnection, chat_id: int, user_id: int) -> Job | None:
    """Not one of which no video could be made."""
    was_good = func.coalesce(jobs.c.reason, "").not_like(f"{RENDER_FAILED}%")
    usable = jobs.c.photo_key.isnot(None) & (jobs.c.photo_accepted == 1) & was_good
    statement = select(*COLUMNS).where(jobs.c.chat_id == chat_id, jobs.c.user_id == user_id, usable)
    row = (await connection.execute(statement.order_by(jobs.c.id.desc()).limit(1))).one_or_none()
    return Job.of(row) if row else None


def _has_photo(draft: Job) -> bool:
    return draft.has_photo or any(half.kind is Kind.PHOTO for half in incoming(draft))


def _columns(job: Job, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(job, name) for name in names}
