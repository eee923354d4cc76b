"""What has ended costs no time: what runs all the time reads but the few rows that it is about, on both engines.

No seconds are counted, but SQLite's steps, or the rows that PostgreSQL reads, for each statement that is heard.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Connection, Engine, event, text

from benchmarks.past import fill
from bot import texts
from bot.clock import Clock
from bot.sandbox.chats import Message
from bot.sweeper import Sweeper
from media_samples import sound
from scenes import all_handled, ask
from storage.database import Database, open_database
from storage.job import State
from storage.notices import Notices
from storage.objects import LocalStore, MediaSigner
from storage.retention import Retention
from storage.updates import Updates
from world import PHOTO, World, world

ENDED = 20_000
MOST_STEPS = 20_000  # one step a row, where none is passed in less than three
MOST_ROWS = 2_000
STEPS_AT_ONCE = 100
SHORT = sound(seconds=1)


@dataclass
class Heard:
    """Statements, and what each was last given; on SQLite also the most steps that it took at one time."""

    last: dict[str, Any] = field(default_factory=dict)
    steps: Counter[str] = field(default_factory=Counter)

    def watch(self, driver: Any, record: Any) -> None:
        """Have a new connection of SQLite's tell of its steps."""

        def go_on() -> None:
            record.info["steps"] = record.info.get("steps", 0) + STEPS_AT_ONCE

        if hasattr(driver.driver_connection, "set_progress_handler"):
            driver.run_async(lambda connection: connection.set_progress_handler(go_on, STEPS_AT_ONCE))

    def begin(self, connection: Connection, _cursor: Any, statement: str, given: Any, *_: Any) -> None:
        self.last[statement] = given
        connection.info["steps"] = 0

    def end(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        self.steps[statement] = max(self.steps[statement], connection.info["steps"])


@contextmanager
def listening() -> Iterator[Heard]:
    """Hear every statement that is run in this process until the end of the block."""
    heard = Heard()
    hooks = (
        (Engine, "connect", heard.watch),
        (Engine, "before_cursor_execute", heard.begin),
        (Engine, "after_cursor_execute", heard.end),
    )
    for hook in hooks:
        event.listen(*hook)
    try:
        yield heard
    finally:
        for hook in hooks:
            event.remove(*hook)


async def far_readers(database: Database, heard: Heard) -> set[str]:
    """The statements that read as if for them all jobs counted."""
    if not database.is_postgres:
        return {statement for statement, steps in heard.steps.items() if steps > MOST_STEPS}
    return {
        statement
        for statement, given in heard.last.items()
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")) and "FROM pg_" not in statement
        if await _rows_read(database, statement, given) > MOST_ROWS
    }


async def _rows_read(database: Database, statement: str, given: Sequence[object]) -> int:
    """Run it once more, as it was run last, and undo it.

    Once planned for what is given, and once for whatever may be, as PostgreSQL does when it has seen it a few times.
    """
    read = []
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE heard{_literals(given)}"
    for mode in ("force_custom_plan", "force_generic_plan"):
        async with database.begin() as connection:
            undone = await connection.begin_nested()
            for preparation in (f"SET LOCAL plan_cache_mode = {mode}", f"PREPARE heard AS {statement}"):
                await connection.exec_driver_sql(preparation)
            plan = (await connection.exec_driver_sql(explain)).scalar_one()
            await connection.exec_driver_sql("DEALLOCATE heard")
            await undone.rollback()
        read.append(sum(map(_rows_of, _nodes(plan[0]["Plan"]))))
    return max(read)


def _literals(given: Sequence[object]) -> str:
    quoted = ("'" + value.replace("'", "''") + "'" if isinstance(value, str) else value for value in given)
    values = ", ".join("NULL" if value is None else str(value) for value in quoted)
    return f"({values})" if values else ""


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)


def _rows_of(node: dict[str, Any]) -> int:
    """Of a node that reads; an index's own rows come with those of the table."""
    if "Scan" not in node["Node Type"]:
        return 0
    read = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return int(sum(node.get(name, 0) for name in read) * node["Actual Loops"])


async def live(here: World) -> None:
    """Have the service do whatever people, AKOOL, Telegram and Prometheus have it do all day."""
    for _ in range(2):
        await here.ada.send_photo(PHOTO)
        voice = await here.ada.send_voice(SHORT)
        await replied(here, voice)
    voice = await here.ada.send_voice(SHORT)
    await here.says(texts.STATUS_LAST_PHOTO)
    await here.ada.send_text("/again")
    await replied(here, voice)
    await here.telegram.group().send_text("/talk", by=here.telegram.user(here.ada.id, first_name="Ada"))
    for command in ("/status", "/history", "/cancel", "/settings"):
        await ask(here.ada, command)
    await all_handled(here)
    async with httpx.AsyncClient(base_url=here.settings.public_url or "") as http:
        answers = [await http.get(path) for path in ("/metrics", "/readyz")]
    assert [answer.status_code for answer in answers] == [200, 200]


async def replied(here: World, voice: Message) -> None:
    await here.ada.wait_for(lambda message: message.video and message.reply_to_id == voice.id, timeout_seconds=60)


async def sweep(database: Database, folder: Path) -> None:
    """What is done every few hours only."""
    store = LocalStore(folder / "media", MediaSigner([b"key"], "https://bot.example"))
    await store.start()
    await Sweeper(Updates(database), Notices(database), Retention(database), store, Clock(), retention_days=30).sweep()


async def test_what_runs_all_the_time_reads_no_history(database_url: str, tmp_path: Path) -> None:
    """Not one of them ever came as far as a render, so that looking for the latest renders finds none."""
    async with open_database(database_url, now=Clock().now) as database:
        await fill(database, ENDED, state=State.FAILED)
        if database.is_postgres:  # as its autovacuum does by itself
            async with database.begin() as connection:
                await connection.execute(text("ANALYZE"))
    with listening() as seldom:
        async with open_database(database_url, now=Clock().now) as database:
            await sweep(database, tmp_path)

    with listening() as always:
        async with world(tmp_path, database_url=database_url, spend_limit_day=100) as here:
            await live(here)
    async with open_database(database_url, now=Clock().now) as database:
        known = await far_readers(database, seldom)
        assert known, "or none would be found"
        assert await far_readers(database, always) - known == set()
