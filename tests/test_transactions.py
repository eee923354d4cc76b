"""What a transaction is worth when its task is cancelled and its process killed, on both engines."""

import asyncio
import random
import sys
import types
from collections.abc import AsyncIterator, Coroutine, Generator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from databases import Clock, note, noted
from storage.database import Database, open_database
from storage.engine import DatabaseError

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
async def database(database_url: str, clock: Clock) -> AsyncIterator[Database]:
    async with open_database(database_url, now=clock) as database:
        yield database


async def test_an_exception_takes_the_whole_transaction_back(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await note(database, "once", "once")
    assert await noted(database) == set()


@types.coroutine
def cancelled_at(suspension: int, work: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
    """Await `work`, and cancel the task that does so at its nth suspension."""
    step = partial(work.send, None)
    for nth in count():
        try:
            waited_for = step()
        except StopIteration:
            return
        if nth == suspension:
            current_task().cancel()
        try:
            yield waited_for
            step = partial(work.send, None)
        except BaseException as thrown:  # noqa: BLE001 - handed on
            step = partial(work.throw, thrown)


def current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def test_a_transaction_cancelled_at_any_await_is_whole_or_not_there(database: Database) -> None:
    """... and the next one is not disturbed."""

    async def cancel_at(suspension: int) -> None:
        await cancelled_at(suspension, note(database, f"{suspension} left", f"{suspension} right"))

    for suspension in count():
        task = asyncio.create_task(cancel_at(suspension))
        await asyncio.wait([task])
        await note(database, f"{suspension} next")
        if not task.cancelled():
            await task
            break
    assert suspension > 3, "as many as a transaction has statements, at the least"
    sides = {
        frozenset(key.split()[1] for key in await noted(database) if key.startswith(f"{n} "))
        for n in range(suspension + 1)
    }
    assert sides <= {frozenset({"left", "right", "next"}), frozenset({"next"})}


async def test_transactions_cancelled_at_random_leave_no_halves(database: Database) -> None:
    """Many at once, some still waiting for a connection when they are cancelled."""
    chance = random.Random(20)
    for batch in range(10):
        tasks = [asyncio.create_task(note(database, f"{batch}.{n} left", f"{batch}.{n} right")) for n in range(10)]
        for task in tasks:
            asyncio.get_running_loop().call_later(chance.uniform(0, 0.03), task.cancel)
        done, _ = await asyncio.wait(tasks)
        assert not [task for task in done if not task.cancelled() and task.exception()]
    keys = await noted(database)
    assert {key.split()[0] for key in keys if key.endswith("left")} == {
        key.split()[0] for key in keys if key.endswith("right")
    }


KILLED_IN_A_TRANSACTION = """
import asyncio, sys
from sqlalchemy import insert
from storage.database import open_database
from storage.schema import notices

async def main():
    async with open_database(sys.argv[1], now=lambda: 0) as database:
        async with database.begin() as connection:
            await connection.execute(insert(notices).values(key="committed", at=1))
        async with database.begin() as connection:
            await connection.execute(insert(notices).values(key="open", at=1))
            print("in a transaction", flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_process_killed_in_a_transaction_leaves_what_it_had_committed(database_url: str, clock: Clock) -> None:
    """While it lives nobody else may open its SQLite file; its death, however sudden, frees it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED_IN_A_TRANSACTION, database_url, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"in a transaction\n"
    if database_url.startswith("sqlite"):
        with pytest.raises(DatabaseError, match="another process holds"):
            async with open_database(database_url, now=clock):
                pass
    process.kill()
    await process.wait()
    async with open_database(database_url, now=clock) as database:
        assert await noted(database) == {"committed"}
        await note(database, "open")
