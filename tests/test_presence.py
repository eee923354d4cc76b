"""The service's place among the replicas: who is refused at the start, and who ends when its place is lost."""

import asyncio
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from bot.clock import Clock
from bot.config import Settings
from bot.presence import present
from bot.resources import Keys
from clocks import TurnableClock
from databases import cut_connections
from storage.database import Database, open_database
from storage.replicas import NotAlone


def place(database: Database, clock: Clock, folder: Path, **settings: Any) -> AbstractAsyncContextManager[None]:
    values: dict[str, Any] = {
        "telegram_bot_token": "1:token",
        "akool_api_key": "key",
        "public_url": "https://bot.example",
        "data_dir": folder,
        "app_secret": "ours",
        **settings,
    }
    chosen = Settings(_env_file=None, **values)  # type: ignore[call-arg]
    return present(chosen, Keys.of(chosen), database, clock, patience_ms=100)


async def test_replicas_need_their_media_in_s3_and_one_secret(own_postgres_url: str, tmp_path: Path) -> None:
    clock, in_s3 = TurnableClock(), {"media_store": "s3://bucket/media"}
    async with (
        open_database(own_postgres_url, now=clock.now) as one,
        open_database(own_postgres_url, now=clock.now) as other,
        place(one, clock, tmp_path, **in_s3),
    ):
        async with place(other, clock, tmp_path, **in_s3):
            pass
        for wrong in ({}, in_s3 | {"app_secret": "another"}):
            with pytest.raises(NotAlone):
                async with place(other, clock, tmp_path, **wrong):
                    pass


async def test_on_sqlite_nothing_is_asked(tmp_path: Path) -> None:
    """The lock file keeps every other process away."""
    clock = TurnableClock()
    url = f"sqlite:///{tmp_path}/bot.sqlite3"
    async with open_database(url, now=clock.now) as database, place(database, clock, tmp_path):
        pass


async def test_a_service_whose_place_is_taken_ends(own_postgres_url: str, tmp_path: Path) -> None:
    """Both would else work on jobs whose media only one of them has. That is no clean stop, and says why."""
    clock = TurnableClock()
    is_there = asyncio.Event()

    async def service(database: Database) -> None:
        async with place(database, clock, tmp_path):
            is_there.set()
            await asyncio.Event().wait()

    async with open_database(own_postgres_url, now=clock.now) as other:
        async with open_database(own_postgres_url, now=clock.now) as one:
            running = asyncio.create_task(service(one))
            await is_there.wait()
            await cut_connections(other)
            async with place(other, clock, tmp_path):
                while not running.done():
                    clock.turn(seconds=1)
                    await asyncio.sleep(0)
        with pytest.raises(NotAlone, match="MEDIA_STORE"):
            await running
