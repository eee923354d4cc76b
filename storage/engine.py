"""Engines for the two kinds of database.

SQLite is held by exactly one connection in one process. A lock file keeps a second process away: two writers
that checkpoint at once can corrupt a WAL database in SQLite before 3.51.3 (https://sqlite.org/wal.html), and
releasing every claim at start is only right for the sole owner. PostgreSQL takes any number of processes.
"""

import fcntl
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_BUSY_TIMEOUT_MS = 10_000
_IDLE_IN_TRANSACTION_MS = 20_000
_CONNECT_SECONDS = 10

# What PostgreSQL is told of each connection of ours.
_SESSION = {
    # A process that is frozen in a transaction must not hold its locks for longer than a lease.
    "idle_in_transaction_session_timeout": str(_IDLE_IN_TRANSACTION_MS),
    # A machine that is gone without a word holds its advisory locks for a minute, not for two hours.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


# https://www.postgresql.org/docs/current/errcodes-appendix.html
_REFUSED = {
    "3D000": "PostgreSQL has no database of that name; create it first (createdb)",
    "28P01": "PostgreSQL refuses the password",
    "28000": "PostgreSQL refuses the user",
    "53300": "PostgreSQL has no connection left; raise its max_connections",
}
_UNREACHABLE = {
    ConnectionRefusedError: "nobody answers at its host and port",
    socket.gaierror: "its host is not known",
    TimeoutError: "it does not answer",
    FileNotFoundError: "nothing is there",
    PermissionError: "it may not be read and written",
}

DATABASE_ERRORS = (SQLAlchemyError, OSError)
"""What a transaction raises where the database does not work: asyncpg lets the system's own errors through."""


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what to do."""


def async_url(url: str) -> URL:
    """Name the asyncio driver in a plain `sqlite:///…` or `postgresql://…` URL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseError("DATABASE_URL is not a URL") from None
    match parsed.get_backend_name():
        case "sqlite" if not parsed.database or parsed.database == ":memory:":
            raise DatabaseError("DATABASE_URL must name a file: sqlite:///path/to/bot.sqlite3")
        case "sqlite":
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgresql" | "postgres":
            # libpq's word for it is sslmode, asyncpg's is ssl.
            ssl = parsed.query.get("sslmode")
            parsed = parsed.difference_update_query(["sslmode"])
            return parsed.set(drivername="postgresql+asyncpg").update_query_dict({"ssl": ssl} if ssl else {})
        case other:
            raise DatabaseError(f"DATABASE_URL must begin with sqlite:/// or postgresql://, not {other}://")


@contextmanager
def only_process(url: URL) -> Iterator[None]:
    """Keep others away from the SQLite file until the end of the block. Raises `DatabaseError` where one has it."""
    if url.get_backend_name() != "sqlite":
        yield
        return
    path = Path(url.database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DatabaseError(
                f"another process holds {path}: stop it first, or use PostgreSQL to run several"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def make_engine(url: URL, *, statement_seconds: float | None) -> AsyncEngine:
    """An engine for a URL of `async_url`; on PostgreSQL a statement is broken off after so long."""
    if url.get_backend_name() != "sqlite":
        patience = {
            "timeout": _CONNECT_SECONDS,
            "command_timeout": statement_seconds,
            "server_settings": _SESSION,
        }
        return create_async_engine(
            url, pool_size=5, max_overflow=7, pool_pre_ping=True, hide_parameters=True, connect_args=patience
        )
    engine = create_async_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_timeout=60,
        connect_args={"isolation_level": None},
        hide_parameters=True,  # its errors would quote what people write
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # under NORMAL a power cut may forget the intent to pay
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that turns from reading to writing fails at once instead of waiting.
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@asynccontextmanager
async def reading_engine(url: str) -> AsyncIterator[AsyncEngine]:
    """The engine of `open_reader`, of whatever schema. Raises `DatabaseError`."""
    parsed = async_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = parsed.database or ""
        if not os.path.isfile(path):  # noqa: PTH113 - once, in a command
            raise DatabaseError(f"there is no database at {path} yet")
        parsed = parsed.set(database=f"file:{quote(path)}", query={"mode": "ro", "uri": "true"})
        engine = create_async_engine(parsed, connect_args={"isolation_level": None})
    else:
        engine = create_async_engine(parsed)
    try:
        yield engine
    finally:
        await engine.dispose()


@contextmanager
def in_a_sentence() -> Iterator[None]:
    """Turn what a database raises into a `DatabaseError`."""
    try:
        yield
    except DATABASE_ERRORS as error:
        raise DatabaseError(f"the database can't be opened: {_why(error)}") from error


def _why(error: Exception) -> str:
    """A reason in words of ours, since the error's own may hold the URL, and with it a password."""
    code = getattr(getattr(error, "orig", None), "sqlstate", None)
    kinds = [words for kind, words in _UNREACHABLE.items() if isinstance(error, kind)]
    return _REFUSED.get(str(code)) or next(iter(kinds), type(error.__cause__ or error).__name__)
