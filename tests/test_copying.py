"""Copies of a database: backups; and from one engine to the other every row, the ids that were used, no half copies."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Integer, Table, Text, delete, insert, select, text

from databases import ENGINES, Clock, insert_job, note, noted
from storage.copying import back_up, copy_database
from storage.database import Database, open_database, open_reader
from storage.engine import DatabaseError
from storage.job import State
from storage.replicas import Presence
from storage.schema import jobs, metadata, updates

ROWS = 1100  # more than one batch


@pytest.fixture(params=ENGINES)
def urls(request: pytest.FixtureRequest, tmp_path: Path, own_postgres_url: str) -> tuple[str, str]:
    """Where from and where to: from each engine to the other."""
    both = f"sqlite:///{tmp_path / 'bot.sqlite3'}", own_postgres_url
    return both if request.param == "sqlite" else both[::-1]


def row(table: Table, number: int) -> dict[str, Any]:
    """A row with something in every column: large numbers, all of Unicode, a null here and there."""

    def value(place: int) -> object:
        column = list(table.columns)[place]
        if column.nullable and (number + place) % 3 == 0:
            return None
        if isinstance(column.type, Text):
            return f"{number} {column.name} żółw 🎤 \\u0000 'quoted'\n"
        assert isinstance(column.type, Integer)
        return number if column.primary_key else -(2**52) - number

    return {column.name: value(place) for place, column in enumerate(table.columns)}


async def fill(url: str, clock: Clock) -> None:
    async with open_database(url, now=clock) as database, database.begin() as connection:
        for table in metadata.sorted_tables:
            await connection.execute(insert(table), [row(table, number) for number in range(1, ROWS + 1)])


async def contents(database: Database) -> dict[str, Sequence[Any]]:
    async with database.begin() as connection:
        return {
            table.name: sorted(map(tuple, await connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


async def test_every_row_of_every_table_arrives_as_it_was(urls: tuple[str, str], clock: Clock) -> None:
    source, target = urls
    await fill(source, clock)
    assert await copy_database(source, target, now=clock) == dict.fromkeys(metadata.tables, ROWS)
    async with open_database(source, now=clock) as before, open_database(target, now=clock) as after:
        assert await contents(after) == await contents(before)


async def test_an_id_that_a_job_once_had_is_never_given_again(urls: tuple[str, str], clock: Clock) -> None:
    """Also where that job is forgotten by now."""
    source, target = urls
    async with open_database(source, now=clock) as database:
        await insert_job(database, State.DELIVERED)
        gone = await insert_job(database, State.DELIVERED)
        async with database.begin() as connection:
            await connection.execute(delete(jobs).where(jobs.c.id == gone.id))
    await copy_database(source, target, now=clock)
    async with open_database(target, now=clock) as database:
        assert (await insert_job(database, State.QUEUED)).id == gone.id + 1


async def test_a_database_that_never_had_a_job_is_copied_too(urls: tuple[str, str], clock: Clock) -> None:
    source, target = urls
    async with open_database(source, now=clock):
        pass
    async with open_database(target, now=clock) as database:
        await database.check()  # as `doctor` does
    assert sum((await copy_database(source, target, now=clock)).values()) == 0
    async with open_database(target, now=clock) as database:
        assert (await insert_job(database, State.QUEUED)).id == 1


async def test_a_bot_that_runs_on_the_source_is_refused(urls: tuple[str, str], clock: Clock) -> None:
    source, target = urls
    async with open_database(source, now=clock) as database, AsyncExitStack() as stack:
        if database.is_postgres:
            presence = Presence(database, is_lonely=False, secrets=["ours"], patience_ms=1)
            await presence.keep()
            stack.push_async_callback(presence.leave)
        with pytest.raises(DatabaseError, match="stop it first"):
            await copy_database(source, target, now=clock)


async def test_rows_in_the_target_are_left_alone(urls: tuple[str, str], clock: Clock) -> None:
    source, target = urls
    async with open_database(source, now=clock) as database:
        await note(database, "other")
    async with open_database(target, now=clock) as database:
        await note(database, "mine")
    with pytest.raises(DatabaseError, match="TO is not empty: there are rows in its table notices"):
        await copy_database(source, target, now=clock)
    async with open_database(target, now=clock) as database:
        assert await noted(database) == {"mine"}


async def test_a_database_is_not_copied_onto_itself(urls: tuple[str, str], clock: Clock) -> None:
    with pytest.raises(DatabaseError, match="the same database"):
        await copy_database(urls[0], urls[0], now=clock)


async def test_another_schema_is_refused_and_not_brought_up(urls: tuple[str, str], clock: Clock) -> None:
    """The way back to the version that ran on it stays open."""
    source, target = urls
    async with open_database(source, now=clock) as database, database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    for _ in range(2):
        with pytest.raises(DatabaseError, match="schema is 0001, this program's is"):
            await copy_database(source, target, now=clock)


# --- all or nothing ---


async def test_what_postgresql_cant_hold_is_named_and_nothing_is_copied(
    own_postgres_url: str, tmp_path: Path, clock: Clock
) -> None:
    source = f"sqlite:///{tmp_path / 'bot.sqlite3'}"
    await fill(source, clock)
    async with open_database(source, now=clock) as database, database.begin() as connection:
        await connection.execute(updates.update().where(updates.c.update_id == 7).values(raw="a\0b"))
    with pytest.raises(DatabaseError, match="raw of updates 7 holds a NUL character"):
        await copy_database(source, own_postgres_url, now=clock)
    async with open_database(own_postgres_url, now=clock) as database:
        assert not any((await contents(database)).values())


@pytest.mark.parametrize(
    ("meddling", "sentence"),
    [
        ("NEW.attempts := 1", "jobs 1050 came out different"),
        ("INSERT INTO updates VALUES (0, 0, '', 0)", "somebody else writes to the table updates"),
    ],
)
async def test_what_comes_out_different_is_noticed_and_nothing_is_copied(
    meddling: str, sentence: str, own_postgres_url: str, tmp_path: Path, clock: Clock
) -> None:
    source = f"sqlite:///{tmp_path / 'bot.sqlite3'}"
    await fill(source, clock)
    meddle = f"BEGIN IF NEW.id = 1050 THEN {meddling}; END IF; RETURN NEW; END"
    async with open_database(own_postgres_url, now=clock) as database, database.begin() as connection:
        await connection.execute(text(f"CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $${meddle}$$"))
        await connection.execute(
            text("CREATE TRIGGER meddle BEFORE INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION meddle()")
        )
    with pytest.raises(DatabaseError, match=sentence):
        await copy_database(source, own_postgres_url, now=clock)
    async with open_database(own_postgres_url, now=clock) as database:
        assert not any((await contents(database)).values())


# --- backups ---


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'data' / 'bot.sqlite3'}"


async def test_a_database_of_an_older_version_can_be_backed_up(sqlite_url: str, tmp_path: Path, clock: Clock) -> None:
    """That is done before an upgrade, by either version."""
    async with open_database(sqlite_url, now=clock) as database, database.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    await back_up(sqlite_url, tmp_path / "copy")
    with pytest.raises(DatabaseError, match="schema is 0001"):
        async with open_reader(f"sqlite:///{tmp_path / 'copy'}", now=clock):
            pass


async def test_a_backup_is_whole_and_for_its_owner_s_eyes_only(sqlite_url: str, tmp_path: Path, clock: Clock) -> None:
    """What is left of a backup that was killed is in nobody's way."""
    (tmp_path / "copy.part").write_text("half a database")
    async with open_database(sqlite_url, now=clock) as database:
        await note(database, "kept")
        await back_up(sqlite_url, tmp_path / "copy")
    assert {path.name for path in tmp_path.iterdir()} == {"copy", "data"}
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o600
    async with open_database(f"sqlite:///{tmp_path / 'copy'}", now=clock) as copy:
        assert await noted(copy) == {"kept"}
    with pytest.raises(DatabaseError, match="is there already"):
        await back_up(sqlite_url, tmp_path / "copy")


async def test_a_backup_that_fails_says_why_and_leaves_nothing(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bot.sqlite3").write_text("no database at all, however long this text may be")
    with pytest.raises(DatabaseError, match="no backup was made: file is not a database"):
        await back_up(sqlite_url, tmp_path / "copy")
    with pytest.raises(DatabaseError, match="nowhere can't be written: No such file"):
        await back_up(sqlite_url, tmp_path / "nowhere" / "copy")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
