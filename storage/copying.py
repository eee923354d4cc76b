"""Copies of a whole database: a backup of the SQLite file, and all rows from one engine to the other.

Both are whole or not there at all, and only read what they copy.
"""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Row, Table, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Clock, open_database, open_reader
from storage.engine import DATABASE_ERRORS, DatabaseError, async_url, only_process, reading_engine
from storage.replicas import is_anyone_present
from storage.schema import metadata, notices

_BATCH = 1000

_HIGHEST_ID = {
    "sqlite": "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'",
    "postgresql": "SELECT pg_sequence_last_value(pg_get_serial_sequence('jobs', 'id')::regclass)",
}
_NEXT_AFTER = {
    "sqlite": ("DELETE FROM sqlite_sequence WHERE name = 'jobs'", "INSERT INTO sqlite_sequence VALUES ('jobs', :id)"),
    "postgresql": ("SELECT setval(pg_get_serial_sequence('jobs', 'id'), :id)",),
}


async def back_up(url: str, target: Path) -> None:
    """Write a consistent copy of the SQLite database to the new file `target`, beside a process that writes.

    The schema may be of any version, since one backs up before one upgrades. Only the owner may read the file.
    Raises `DatabaseError` and `OSError`.
    """
    if async_url(url).get_backend_name() != "sqlite":
        raise DatabaseError("this database is not SQLite's: back it up with pg_dump")
    if target.exists():
        raise DatabaseError(f"{target} is there already")
    draft = target.with_name(f"{target.name}.part")
    async with reading_engine(url) as engine:
        file = _own_file(draft)
        try:
            async with engine.begin() as connection:
                await connection.execute(text("VACUUM INTO :draft"), {"draft": str(draft)})
            os.fsync(file)
            draft.rename(target)
        except DBAPIError as error:
            raise DatabaseError(f"no backup was made: {error.orig}") from error
        finally:
            os.close(file)
            draft.unlink(missing_ok=True)


def _own_file(draft: Path) -> int:
    """Open a new file for its owner alone."""
    try:
        draft.unlink(missing_ok=True)  # of a backup that was killed
        return os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise DatabaseError(f"no backup was made: {draft.parent} can't be written: {error.strerror}") from error


async def copy_database(source_url: str, target_url: str, *, now: Clock) -> dict[str, int]:
    """Copy every row of a database that no bot uses into an empty one; gives the number of rows of each table.

    One transaction holds it all, and each row is read back and compared before it is committed. Rows go by in
    batches, so memory does not grow with them.

    Raises `DatabaseError` where the source is in use or of another schema, the target holds rows, or anything fails;
    the target then is as empty as it was.
    """
    if async_url(source_url) == async_url(target_url):
        raise DatabaseError("FROM and TO are the same database")
    async with _open_stopped(source_url, now=now) as reading, open_database(target_url, now=now) as target:
        try:
            async with target.begin() as writing:
                await _refuse_rows(writing)
                copied = {table.name: await _copy(table, reading, writing) for table in metadata.sorted_tables}
                await _carry_ids_on(reading, writing)
        except DATABASE_ERRORS as error:
            # Its text may hold what people wrote.
            raise DatabaseError(f"nothing was copied: {type(error.__cause__ or error).__name__}") from error
    return copied


@asynccontextmanager
async def _open_stopped(url: str, *, now: Clock) -> AsyncIterator[AsyncConnection]:
    """Read a database that no bot uses, as it is at one moment. A bot can't start on the SQLite file meanwhile."""
    async with open_reader(url, now=now) as database:
        with only_process(async_url(url)):
            async with database.begin() as connection:
                if database.is_postgres:
                    await connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
                    if await is_anyone_present(connection):
                        raise DatabaseError("a bot runs on the database FROM: stop it first, and every copy of it")
                yield connection


async def _refuse_rows(writing: AsyncConnection) -> None:
    await writing.execute(delete(notices).where(notices.c.key == "check"))  # left by `Database.check`, as in `doctor`
    for table in metadata.sorted_tables:
        if await _count(table, writing):
            raise DatabaseError(f"TO is not empty: there are rows in its table {table.name}")


async def _copy(table: Table, reading: AsyncConnection, writing: AsyncConnection) -> int:
    copied = 0
    rows = await reading.stream(select(table).order_by(*table.primary_key))
    async for batch in rows.partitions(_BATCH):
        if writing.dialect.name == "postgresql":
            _refuse_nul(table, batch)
        await writing.execute(insert(table), [dict(row._mapping) for row in batch])  # noqa: SLF001 - SQLAlchemy's name
        await _compare(table, batch, writing)
        copied += len(batch)
    if copied != await _count(table, writing):
        raise DatabaseError(f"nothing was copied: somebody else writes to the table {table.name}")
    return copied


def _refuse_nul(table: Table, batch: Sequence[Row[Any]]) -> None:
    for row in batch:
        for column, value in zip(table.columns, row, strict=True):
            if isinstance(value, str) and "\0" in value:
                raise DatabaseError(
                    f"nothing was copied: {column.name} of {_name(table, row)} holds a NUL character, which PostgreSQL "
                    "can't hold"
                )


async def _compare(table: Table, batch: Sequence[Row[Any]], writing: AsyncConnection) -> None:
    """Read the batch back, and raise `DatabaseError` where a row is not what it was."""
    [key] = table.primary_key
    position = list(table.columns).index(key)
    keys = [row[position] for row in batch]
    written = {row[position]: row for row in await writing.execute(select(table).where(key.in_(keys)))}
    for row in batch:
        if written.get(row[position]) != row:
            raise DatabaseError(f"nothing was copied: {_name(table, row)} came out different")


def _name(table: Table, row: Row[Any]) -> str:
    """Which row it is; a key that is a text may be a secret."""
    [key] = table.primary_key
    value = row._mapping[key.name]  # noqa: SLF001 - SQLAlchemy's name
    return f"{table.name} {value}" if isinstance(value, int) else f"a row of {table.name}"


async def _count(table: Table, connection: AsyncConnection) -> int:
    return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def _carry_ids_on(reading: AsyncConnection, writing: AsyncConnection) -> None:
    """Let new jobs get ids that no job ever had: the highest one may be gone already, and its buttons still there."""
    highest = await reading.scalar(text(_HIGHEST_ID[reading.dialect.name]))
    if highest is not None:
        for statement in _NEXT_AFTER[writing.dialect.name]:
            await writing.execute(text(statement), {"id": highest} if ":id" in statement else {})
