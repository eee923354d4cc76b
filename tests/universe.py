"""Where simulated worlds come and go, one after the other, on one event loop and one database."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, TypeVar, cast

import structlog
from sqlalchemy import delete, text

from simulated_hooks import Fault
from simulation import Ground, World
from storage.database import open_database
from storage.schema import metadata
from virtual_loop import VirtualLoop

Result = TypeVar("Result")


class Universe:
    """Where worlds come and go, one after the other. It keeps what is dear to make: a database, and its statements."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._loop = cast("VirtualLoop", self._runner.get_loop())

    def __enter__(self) -> Self:
        with self._loop.patiently():
            self._ground = self._runner.run(self._open())
        self._queue, self._ground.driver._tx = self._ground.driver._tx, _AtOnce()
        return self

    def __exit__(self, *_: object) -> None:
        self._ground.driver._tx = self._queue
        with self._loop.patiently(), self._runner:
            self._runner.run(self._stack.aclose())

    async def _open(self) -> Ground:
        memory = Path("/dev/shm")  # noqa: S108 - only named, and only for speed
        folder = self._stack.enter_context(TemporaryDirectory(dir=memory if memory.is_dir() else None))
        self._folder = Path(folder)
        url = f"sqlite:///{folder}/bot.sqlite3"
        database = await self._stack.enter_async_context(open_database(url, now=lambda: 0))
        connection = await self._stack.enter_async_context(database._engine.connect())
        driver = (await connection.get_raw_connection()).driver_connection
        return Ground(database._engine, connection, driver)

    def run(
        self,
        story: Callable[[World], Awaitable[Result]],
        faults: Iterable[Fault] = (),
        *,
        seed: int = 1,
        **settings: Any,
    ) -> Result:
        """Tell a story in a new world, with the service running from its start to its end."""

        async def tell() -> Result:
            async with self.world(faults, seed=seed, **settings) as here:
                return await story(here)

        return self.do(tell())

    def do(self, doing: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(doing)

    @asynccontextmanager
    async def world(self, faults: Iterable[Fault] = (), *, seed: int = 1, **settings: Any) -> AsyncIterator[World]:
        random.seed(seed)
        self._loop.begin_anew()
        connection = self._ground.connection
        async with connection.begin():
            for table in metadata.sorted_tables:
                await connection.execute(delete(table))
            await connection.execute(text("DELETE FROM sqlite_sequence"))
        with TemporaryDirectory(dir=self._folder) as folder, structlog.testing.capture_logs():
            here = World(self._ground, Path(folder), faults, settings)
            here.boot()
            try:
                yield here
            finally:
                await here.end()


class _AtOnce:
    """Takes the place of the queue to aiosqlite's thread: what is put in it is done now."""

    @staticmethod
    def put_nowait(item: tuple[asyncio.Future[Any], Callable[[], Any]]) -> None:
        future, work = item
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is the waiter's
            future.set_exception(error)
