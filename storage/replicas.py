"""Several processes on one PostgreSQL: who may be there beside whom, and what only one of them does at a time.

Both rest on advisory locks, which PostgreSQL takes back by itself when the connection that holds them ends
(https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS); so they need direct connections, or a
pooler in session mode. SQLite has one process only, which may do everything.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from enum import IntEnum

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.engine import DATABASE_ERRORS, DatabaseError
from storage.notices import Notices

_OURS = 7_461_004  # any number, the same in every replica
_PRESENCE, _DOOR = 1, 2
PATIENCE_MS = 10_000
"""Enough for a process that was just killed, or has its last seconds."""

_PATIENCE_AT_THE_DOOR_MS = 25_000  # for others who have that patience
_LET_GO_SECONDS = 2
_LOCK_NOT_AVAILABLE = "55P03"
_MARK = "replicas"


class Duty(IntEnum):
    """What one replica does for all of them."""

    UPDATES = 10
    PROFILE = 11
    SWEEPING = 12


class Held:
    """A duty that is ours from `take` until `let_go`, or until the connection is lost."""

    def __init__(self, database: Database, duty: Duty) -> None:
        self._database = database
        self._duty = duty
        self._session: AsyncConnection | None = None

    async def take(self) -> bool:
        """Whether the duty is ours now; asked again, whether it still is. Raises one of `DATABASE_ERRORS`."""
        if not self._database.is_postgres or await _is_alive(self._session):
            return True
        self._session = None
        session = await self._database.session()
        try:
            is_ours = await _lock(session, "pg_try_advisory_lock", self._duty)
        except BaseException:  # whoever is cancelled here may have it already
            await _end(session)
            raise
        if is_ours:
            self._session = session
        else:
            await session.close()
        return is_ours

    @asynccontextmanager
    async def for_now(self) -> AsyncIterator[bool]:
        """Take it for the block, if nobody else has it; gives whether we have."""
        is_ours = await self.take()
        try:
            yield is_ours
        finally:
            await self.let_go()

    async def let_go(self) -> None:
        """Let others have it."""
        session, self._session = self._session, None
        if session is not None:
            await _end(session)


class NotAlone(DatabaseError):
    """This process may not run beside those that are there already; the message says why and what to do."""


class Presence:
    """Our place among the replicas on PostgreSQL.

    `is_lonely`: nobody else may be there, since our media lie in a folder that they can't read. `secrets`: what
    stands for the secrets that all must share, one of which must be the one that the others have; ours comes first.
    """

    def __init__(self, database: Database, *, is_lonely: bool, secrets: Sequence[str], patience_ms: int) -> None:
        self._database = database
        self._patience_ms = patience_ms
        self._notices = Notices(database)
        self._is_lonely = is_lonely
        self._secrets = secrets
        self._session: AsyncConnection | None = None

    async def keep(self) -> None:
        """Take the place; later, take it again where the connection was lost.

        Raises `NotAlone`, or one of `DATABASE_ERRORS`.
        """
        if await _is_alive(self._session):
            return
        self._session = None
        session = await self._database.session()
        try:
            await self._enter(session)
        except BaseException:
            await _end(session)
            raise
        self._session = session

    async def leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await _end(session)

    async def _enter(self, session: AsyncConnection) -> None:
        """One at a time through the door, so that those who start together see each other."""
        await session.execute(text(f"SET lock_timeout = {_PATIENCE_AT_THE_DOOR_MS}"))
        await _lock(session, "pg_advisory_lock", _DOOR)
        await session.execute(text(f"SET lock_timeout = {self._patience_ms}"))
        if self._is_lonely and not await _waited_for(session, "pg_advisory_lock"):
            raise NotAlone(
                "another copy of the bot runs on this database, and can't read the folder that is our MEDIA_STORE: "
                "set MEDIA_STORE=s3://… for both, or stop the other"
            )
        if not await _waited_for(session, "pg_advisory_lock_shared"):
            raise NotAlone(
                "the copy of the bot that runs on this database keeps its media in a folder of its own: "
                "set MEDIA_STORE=s3://… for both, or stop it"
            )
        await self._compare_secrets(session)
        await _lock(session, "pg_advisory_unlock", _DOOR)

    async def _compare_secrets(self, session: AsyncConnection) -> None:
        is_first = await _lock(session, "pg_try_advisory_lock", _PRESENCE)
        known = [await self._notices.holds(_MARK, secret) for secret in self._secrets]
        if not is_first and not any(known):
            raise NotAlone(
                "another copy of the bot runs on this database with another APP_SECRET: set the same one for both"
            )
        if not known[0]:
            await self._notices.keep(_MARK, self._secrets[0])
        if is_first:
            await _lock(session, "pg_advisory_unlock", _PRESENCE)


async def is_anyone_present(connection: AsyncConnection) -> bool:
    """Whether a process of the service runs on this database, or did until a moment ago; for PostgreSQL only."""
    held = text(
        "SELECT EXISTS (SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND granted"
        " AND classid = :ours AND objid = :number)"
    )
    return bool(await connection.scalar(held, {"ours": _OURS, "number": _PRESENCE}))


async def _is_alive(session: AsyncConnection | None) -> bool:
    if session is None:
        return False
    try:
        await session.execute(text("SELECT 1"))
    except DATABASE_ERRORS:
        await _end(session)
        return False
    return True


async def _waited_for(session: AsyncConnection, function: str) -> bool:
    """Whether our presence could be locked within our patience."""
    try:
        await _lock(session, function, _PRESENCE)
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        return False
    return True


async def _lock(session: AsyncConnection, function: str, number: int) -> bool:
    return bool(await session.scalar(text(f"SELECT {function}(:ours, :number)"), {"ours": _OURS, "number": number}))


async def _end(session: AsyncConnection) -> None:
    """Let go of its locks, and close the connection for good: in the pool it might go on holding them."""
    with suppress(*DATABASE_ERRORS):
        async with asyncio.timeout(_LET_GO_SECONDS):  # else PostgreSQL finds out by itself
            await session.execute(text("SELECT pg_advisory_unlock_all()"))
    with suppress(*DATABASE_ERRORS):
        await session.invalidate()
    with suppress(*DATABASE_ERRORS):
        await session.close()
