"""Opening the database, and what a transaction is worth."""

import asyncio
import os
import re
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from databases import Clock, note, noted
from storage.database import _MIGRATION_LOCK, open_database, open_reader
from storage.engine import DatabaseError, async_url
from storage.schema import REVISION, metadata, notices
from storage.upgrade import configuration

REPOSITORY = Path(__file__).parent.parent


# --- URLs ---


@pytest.mark.parametrize(
    ("url", "translated"),
    [
        ("sqlite:///data/bot.sqlite3", "sqlite+aiosqlite:///data/bot.sqlite3"),
        ("postgresql://me:pw@db/bot", "postgresql+asyncpg://me:pw@db/bot"),
        ("postgres://me:pw@db/bot", "postgresql+asyncpg://me:pw@db/bot"),
        ("postgresql+psycopg://db/bot", "postgresql+asyncpg://db/bot"),
        ("postgresql://db/bot?sslmode=require", "postgresql+asyncpg://db/bot?ssl=require"),
        ("postgresql://db/bot?sslmode=disable&host=/run", "postgresql+asyncpg://db/bot?host=%2Frun&ssl=disable"),
    ],
)
def test_a_plain_url_gets_the_asyncio_driver(url: str, translated: str) -> None:
    assert async_url(url).render_as_string(hide_password=False) == translated


def test_another_kind_of_database_is_refused_with_a_sentence_that_keeps_the_password() -> None:
    with pytest.raises(DatabaseError, match=r"must begin with sqlite:/// or postgresql://, not mysql://") as refused:
        async_url("mysql://me:hidden@db/bot")
    assert "hidden" not in str(refused.value)


# --- the schema ---


async def test_the_migrations_make_what_the_models_say(database_url: str, clock: Clock) -> None:
    """Alembic finds no difference, and tables, STRICT and partial indexes read the same in the database's words."""
    async with open_database(database_url, now=clock) as database, database.begin() as connection:
        assert await connection.run_sync(_differences) == []
        migrated = await connection.run_sync(_definitions)
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        assert await connection.run_sync(_definitions) == migrated


def _differences(connection: Connection) -> Any:
    return compare_metadata(MigrationContext.configure(connection), metadata)


def _definitions(connection: Connection) -> dict[str, str]:
    question = {
        "sqlite": "SELECT name, sql FROM sqlite_master WHERE tbl_name != 'alembic_version'",
        "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    }[connection.dialect.name]
    found = {name: definition for name, definition in connection.execute(text(question)) if "alembic" not in name}
    # SQLite keeps a statement's own line breaks, and those of a column that was added later are others.
    return {name: re.sub(r"\s*([(),])\s*", r"\1", definition or "") for name, definition in found.items()}


async def test_an_old_database_opens_again_with_its_rows(database_url: str, clock: Clock) -> None:
    async with open_database(database_url, now=clock) as database:
        await note(database, "kept")
    async with open_database(database_url, now=clock) as database:
        assert await noted(database) == {"kept"}
        await database.check()


async def test_a_newer_schema_refuses_to_start_and_is_left_alone(database_url: str, clock: Clock) -> None:
    async with open_database(database_url, now=clock) as database, database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'"))
    for _ in range(2):  # the refusal lets go of everything, so that the second reads the same
        with pytest.raises(DatabaseError, match=r"schema \(from_the_future\) is newer than this program"):
            async with open_database(database_url, now=clock):
                pass


async def test_replicas_that_start_together_migrate_once(own_postgres_url: str, clock: Clock) -> None:
    async def start(name: str) -> None:
        async with open_database(own_postgres_url, now=clock) as database:
            await note(database, name)

    await asyncio.gather(*map(start, "abc"))
    async with open_reader(own_postgres_url, now=clock) as database:
        assert await noted(database) == {"a", "b", "c"}


async def test_a_migration_may_take_longer_than_any_statement(own_postgres_url: str, clock: Clock) -> None:
    """As may another replica's, which one waits for."""
    brief = 0.2
    migrating = create_async_engine(async_url(own_postgres_url), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    async with migrating.connect() as connection, AsyncExitStack() as stack:
        await connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        opening = asyncio.create_task(
            stack.enter_async_context(open_database(own_postgres_url, now=clock, statement_seconds=brief))
        )
        waited = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
            " AND clock_timestamp() - query_start > make_interval(secs => :brief)"
        )
        async with asyncio.timeout(30):
            while not opening.done() and not await connection.scalar(waited, {"brief": 2 * brief}):
                await asyncio.sleep(0.01)
        await connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _MIGRATION_LOCK})
        database = await opening
        with pytest.raises(TimeoutError):
            async with database.begin() as patient:
                await patient.execute(text("SELECT pg_sleep(30)"))


# --- SQLite: one connection in one process ---


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "bot.sqlite3"


@pytest.fixture
def sqlite_url(sqlite_path: Path) -> str:
    return f"sqlite:///{sqlite_path}"


async def test_a_second_opener_is_refused_with_a_sentence(sqlite_url: str, sqlite_path: Path, clock: Clock) -> None:
    """The folder is made on the way, and the lock is gone as soon as the first has closed."""
    async with open_database(sqlite_url, now=clock):
        assert sqlite_path.with_name("bot.sqlite3.lock").read_text() == str(os.getpid())
        with pytest.raises(
            DatabaseError, match=r"another process holds .*bot\.sqlite3: stop it first, or use PostgreSQL"
        ):
            async with open_database(sqlite_url, now=clock):
                pass
    async with open_database(sqlite_url, now=clock):
        pass


async def test_every_sqlite_connection_is_durable_and_waits_its_turn(sqlite_url: str, clock: Clock) -> None:
    async with open_database(sqlite_url, now=clock) as database, database.begin() as connection:
        pragmas = {
            name: await connection.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 10_000, "foreign_keys": 1}


async def test_strict_tables_refuse_a_text_where_a_number_belongs(sqlite_url: str, clock: Clock) -> None:
    async with open_database(sqlite_url, now=clock) as database:
        with pytest.raises(IntegrityError, match="cannot store TEXT value in INTEGER column"):
            async with database.begin() as connection:
                await connection.execute(text("INSERT INTO notices (key, at) VALUES ('k', 'soon')"))


async def test_transactions_of_one_process_stand_in_line(sqlite_url: str, clock: Clock) -> None:
    """Each reads what the one before it wrote, so that no read-modify-write is lost."""
    async with open_database(sqlite_url, now=clock) as database:
        await note(database, "counter")

        async def increment() -> None:
            async with database.begin() as connection:
                seen = (await connection.execute(select(notices.c.at))).scalar_one()
                await connection.execute(update(notices).values(at=seen + 1))

        await asyncio.gather(*(increment() for _ in range(20)))
        assert await database.earliest(notices.c.at) == 21


# --- readers ---


async def test_a_reader_sees_what_is_committed_beside_the_writer_and_after_it(database_url: str, clock: Clock) -> None:
    async with open_database(database_url, now=clock) as database:
        await note(database, "before")
        async with open_reader(database_url, now=clock) as reader:
            assert await noted(reader) == {"before"}
            await note(database, "beside")
            assert await noted(reader) == {"before", "beside"}
    async with open_reader(database_url, now=clock) as reader:
        assert await noted(reader) == {"before", "beside"}


async def test_a_reader_cannot_write(sqlite_url: str, clock: Clock) -> None:
    async with open_database(sqlite_url, now=clock), open_reader(sqlite_url, now=clock) as reader:
        with pytest.raises(OperationalError, match="readonly"):
            await note(reader, "never")


async def test_a_reader_makes_no_database_where_there_is_none(sqlite_url: str, sqlite_path: Path, clock: Clock) -> None:
    with pytest.raises(DatabaseError, match=r"there is no database at .*bot\.sqlite3 yet"):
        async with open_reader(sqlite_url, now=clock):
            pass
    assert not os.path.exists(sqlite_path)  # noqa: PTH110 - once, in a test


async def test_a_reader_that_finds_no_server_says_so_and_keeps_the_password(clock: Clock, tmp_path: Path) -> None:
    url = f"postgresql://me:hidden@/bot?host={tmp_path}"
    with pytest.raises(DatabaseError, match="the database can't be opened: nothing is there") as refused:
        async with open_reader(url, now=clock):
            pass
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("folder", ["with space", "with#hash"])
async def test_a_reader_finds_any_path_that_the_writer_takes(tmp_path: Path, folder: str, clock: Clock) -> None:
    """SQLite's URI has signs of its own, which a path may hold (https://sqlite.org/uri.html)."""
    url = f"sqlite:///{tmp_path / folder / 'bot.sqlite3'}"
    async with open_database(url, now=clock) as database:
        await note(database, "here")
        async with open_reader(url, now=clock) as reader:
            assert await noted(reader) == {"here"}


def test_the_tables_name_the_newest_migration() -> None:
    """So a database that is up to date is opened without Alembic."""
    assert ScriptDirectory.from_config(configuration(None)).get_heads() == [REVISION]  # type: ignore[arg-type]


async def test_what_stops_the_opening_of_postgresql_is_said_in_words(own_postgres_url: str, clock: Clock) -> None:
    missing = async_url(own_postgres_url).set(drivername="postgresql", database="nowhere")
    for url, why in (
        (missing.render_as_string(hide_password=False), "create it first"),
        ("postgresql://u:hush@127.0.0.1:1/x", "nobody answers"),
    ):
        with pytest.raises(DatabaseError, match=why) as refused:
            async with open_database(url, now=clock):
                pass
        assert "hush" not in str(refused.value)
