"""The database: transactions that tell what they have changed, and a schema that is brought up when it is opened."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, func, inspect, select, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from storage.engine import DatabaseError, async_url, in_a_sentence, make_engine, only_process, reading_engine
from storage.schema import REVISION, notices

Clock = Callable[[], int]
Listener = Callable[[Any], None]

_STATEMENT_SECONDS = 30
_MIGRATION_LOCK = 7_461_002  # any number, the same in every replica

NEWS = "news"
"""In a connection's `info`: what `Database.listener` is to hear once its transaction is committed."""


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
        """The smallest time in a column, of the rows that match.

        That NULL is none goes without saying, but for SQLite, which else can't use an index of the others.
        """
        async with self.begin() as connection:
            earliest: int | None = await connection.scalar(select(func.min(column)).where(column.isnot(None), *where))
        return earliest

    async def check(self) -> None:
        """Write the cheapest row, since a full disk can still be read; raise whatever that raises."""
        news = {"at": self.now()}
        noted = self.insert(notices).values(key="check", **news)
        async with self.begin() as connection:
            await connection.execute(noted.on_conflict_do_update(index_elements=[notices.c.key], set_=news))


def among(column: ColumnElement[Any], chosen: Select[Any]) -> ColumnElement[bool]:
    """That `column` is in `chosen`, which is run once.

    PostgreSQL may run a subquery within IN several times, and with LIMIT and FOR UPDATE each time take other rows.
    """
    once = chosen.cte("chosen")
    return column.in_(select(*once.c))


@asynccontextmanager
async def open_database(
    url: str, *, now: Clock, statement_seconds: float = _STATEMENT_SECONDS
) -> AsyncIterator[Database]:
    """Open the database, bring its schema up, and close it at the end of the block.

    On PostgreSQL a statement that takes longer than `statement_seconds` is broken off, but for a migration's.
    Raises `DatabaseError` where another process holds the SQLite file, or the schema is newer than this code.
    """
    parsed = async_url(url)
    with only_process(parsed):
        await _bring_up(parsed)
        engine = make_engine(parsed, statement_seconds=statement_seconds)
        try:
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
        with in_a_sentence():
            async with engine.begin() as connection:
                revision = await connection.run_sync(revision_of)
        if revision != REVISION:
            raise DatabaseError(
                f"the database's schema is {revision or 'none'}, this program's is {REVISION}: use the version of the "
                "program that runs on it, or run this one on it once"
            )
        yield Database(engine, now)


async def _bring_up(url: URL) -> None:
    """On a connection of its own: a migration takes as long as it takes, and who waits for another's waits for it."""
    engine = make_engine(url, statement_seconds=None)
    try:
        with in_a_sentence():
            async with engine.begin() as connection:
                await connection.run_sync(_migrate)
    finally:
        await engine.dispose()


def revision_of(connection: Connection) -> str | None:
    """The newest migration that was run; None where there are no tables of ours."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _migrate(connection: Connection) -> None:
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
