"""Opening the database: one set of statements, two engines.

SQLite is held by exactly one connection in one process. A lock file keeps a second process away: two writers
that checkpoint at once can corrupt a WAL database in SQLite before 3.51.3 (https://sqlite.org/wal.html), and
releasing every claim at start is only right for the sole owner. PostgreSQL takes any number of processes.
"""

import fcntl
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import ColumnElement, Connection, Select, Table, event, func, inspect, make_url, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from storage.schema import REVISION, notices

Clock = Callable[[], int]
Listener = Callable[[Any], None]

_MIGRATION_LOCK = 7_461_002  # any number, the same in every replica
_BUSY_TIMEOUT_MS = 10_000
_IDLE_IN_TRANSACTION_MS = 20_000
_CONNECT_SECONDS = 10
_STATEMENT_SECONDS = 30

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


NEWS = "news"
"""In a connection's `info`: what `Database.listener` is to hear once its transaction is committed."""


class DatabaseError(Exception):
    """The database cannot be used; the message says why and what to do."""


class Database:
    """Transactions on one engine, and the one clock (milliseconds since the epoch) that stamps every row.

    `listener` hears of each job that has entered a state, when that is committed; it must not raise.
    """

    def __init__(self, engine: AsyncEngine, now: Clock) -> None:
        self._engine = engine
        self.now = now
        self.listener: Listener = lambda _job: None

    @property
    def is_postgres(self) -> bool:
        return self._engine.dialect.name == "postgresql"

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction: committed at the end of the block, rolled back by an exception."""
        news: list[Any] = []
        async with self._engine.begin() as connection:
            connection.info[NEWS] = news
            yield connection
        for piece in news:
            self.listener(piece)

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An insert that may say `on_conflict_do_update` or `on_conflict_do_nothing`, in either engine's words."""
        return postgresql.insert(table) if self.is_postgres else sqlite.insert(table)

    async def session(self) -> AsyncConnection:
        """A connection of one's own, outside of transactions, to be closed by who asked for it; for PostgreSQL only."""
        return await (await self._engine.connect()).execution_options(isolation_level="AUTOCOMMIT")

    async def earliest(self, column: ColumnElement[int], *where: ColumnElement[bool]) -> int | None:
        """The smallest time in a column, of the rows that match."""
        async with self.begin() as connection:
            earliest: int | None = await connection.scalar(select(func.min(column)).where(*where))
        return earliest

    async def check(self) -> None:
        """Write the cheapest row, since a full disk can still be read; raise whatever that raises."""
        news = {"at": self.now()}
        noted = self.insert(notices).values(key="check", **news)
        async with self.begin() as connection:
            await connection.execute(noted.on_conflict_do_update(index_elements=[notices.c.key], set_=news))


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


def among(column: ColumnElement[Any], chosen: Select[Any]) -> ColumnElement[bool]:
    """That `column` is in `chosen`, which is run once.

    PostgreSQL may run a subquery within IN several times, and with LIMIT and FOR UPDATE each time take other rows.
    """
    once = chosen.cte("chosen")
    return column.in_(select(*once.c))


@asynccontextmanager
async def open_database(url: str, *, now: Clock) -> AsyncIterator[Database]:
    """Open the database, bring its schema up, and close it at the end of the block.

    Raises `DatabaseError` where another process holds the SQLite file, or the schema is newer than this code.
    """
    parsed = async_url(url)
    with only_process(parsed):
        engine = _engine(parsed)
        try:
            await _open(engine)
            yield Database(engine, now)
        finally:
            await engine.dispose()


@asynccontextmanager
async def open_reader(url: str, *, now: Clock) -> AsyncIterator[Database]:
    """Open the database for reading only, beside a process that may hold it.

    A reader never checkpoints, so it does no harm to the sole writer. Raises `DatabaseError` where there is no
    database, or the schema is not this program's.
    """
    async with reading_engine(url) as engine:
        with _in_a_sentence():
            async with engine.begin() as connection:
                revision = await connection.run_sync(revision_of)
        if revision != REVISION:
            raise DatabaseError(
                f"the database's schema is {revision or 'none'}, this program's is {REVISION}: use the version of the "
                "program that runs on it, or run this one on it once"
            )
        yield Database(engine, now)


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


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        patience = {
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _STATEMENT_SECONDS,
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


async def _open(engine: AsyncEngine) -> None:
    with _in_a_sentence():
        async with engine.begin() as connection:
            await connection.run_sync(_bring_up)


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    try:
        yield
    except DATABASE_ERRORS as error:
        raise DatabaseError(f"the database can't be opened: {_why(error)}") from error


def _why(error: Exception) -> str:
    """A reason in words of ours, since the error's own may hold the URL, and with it a password."""
    code = getattr(getattr(error, "orig", None), "sqlstate", None)
    kinds = [words for kind, words in _UNREACHABLE.items() if isinstance(error, kind)]
    return _REFUSED.get(str(code)) or next(iter(kinds), type(error.__cause__ or error).__name__)


def revision_of(connection: Connection) -> str | None:
    """The newest migration that was run; None where there are no tables of ours."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _bring_up(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    current = revision_of(connection)
    if current == REVISION:
        return
    from storage.upgrade import SchemaTooNew, upgrade  # noqa: PLC0415 - 10 MB, for once in a while

    try:
        upgrade(connection, current)
    except SchemaTooNew:
        raise DatabaseError(
            f"the database's schema ({current}) is newer than this program: upgrade the program"
        ) from None
