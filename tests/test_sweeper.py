"""When it is swept: every few hours by one of all, and at once where less is to be kept."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.sweeper import Sweeper
from clocks import TurnableClock
from storage.database import Database, open_database
from storage.notices import Notices
from storage.objects import LocalStore, MediaSigner
from storage.replicas import Duty, Held
from storage.retention import Retention
from storage.updates import Updates


class Store(LocalStore):
    """Counts how often it is swept."""

    swept = 0

    async def tidy(self) -> None:
        self.swept += 1


@asynccontextmanager
async def sweeping(
    database: Database, store: Store, clock: TurnableClock, *, retention_days: float
) -> AsyncIterator[None]:
    """A sweeper, from its start until the end of the block; it has looked once, and at each end of its pause."""
    sweeper = Sweeper(
        Updates(database), Notices(database), Retention(database), store, clock, retention_days=retention_days
    )
    task = asyncio.create_task(sweeper.run(Held(database, Duty.SWEEPING)))
    await _until_it_waits(clock)
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _until_it_waits(clock: TurnableClock) -> None:
    before = len(clock._waiting)
    async with asyncio.timeout(10):
        while len(clock._waiting) == before:
            await asyncio.sleep(0)


async def test_a_restart_sweeps_only_where_less_is_to_be_kept_or_it_is_time(tmp_path: Path) -> None:
    """Whoever has a full disk and lowers RETENTION_DAYS does not wait for hours."""
    clock = TurnableClock()
    store = Store(tmp_path / "media", MediaSigner([b"key"], "https://bot.example", now=lambda: 0))
    await store.start()
    swept = []
    async with open_database(f"sqlite:///{tmp_path / 'bot.sqlite3'}", now=clock.now) as database:
        for retention_days in (30, 30, 7):
            async with sweeping(database, store, clock, retention_days=retention_days):
                swept.append(store.swept)
        async with sweeping(database, store, clock, retention_days=7):
            clock.turn(seconds=6 * 3600)
            await _until_it_waits(clock)
            swept.append(store.swept)

    assert swept == [1, 1, 2, 3]


async def test_while_another_replica_sweeps_it_is_not_swept(own_postgres_url: str, tmp_path: Path) -> None:
    """The notice alone would let two of them begin, where one takes longer than the hours between."""
    clock = TurnableClock()
    store = Store(tmp_path / "media", MediaSigner([b"key"], "https://bot.example", now=lambda: 0))
    await store.start()
    async with (
        open_database(own_postgres_url, now=clock.now) as one,
        open_database(own_postgres_url, now=clock.now) as other,
    ):
        async with Held(other, Duty.SWEEPING).for_now(), sweeping(one, store, clock, retention_days=30):
            assert store.swept == 0
        async with sweeping(one, store, clock, retention_days=30):
            assert store.swept == 1
