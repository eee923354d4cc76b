"""A world in one process and one thread: the real service, a local Telegram, a local AKOOL, and time that jumps.

The service runs in processes (`virtual_loop.Process`) that crash or freeze at planned hooks. After a crash another
one starts on the same database, as after `kill -9`. Beside a frozen one another takes over once the lease is over,
as a replica does; the frozen one goes on later, and knows nothing of all that.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

import akool
from bot.app import Service
from bot.clock import Clock
from bot.config import Settings
from bot.limiter import Limiter
from bot.parts import Opened
from bot.resources import Keys
from bot.sandbox import Akool, BotApi
from bot.sandbox.chats import Chat, Message
from bot.sandbox.videos import COMPLETED, FAILED
from bot.telegram import build_application
from network import AKOOL, BOT, TELEGRAM, Incarnation, Network
from simulated_hooks import Fault, Hook, Hooks, PlainDatabase, SimulatedDatabase, Trouble, Wire
from simulated_media import CheapStudio, SimulatedStore, Vault, photo, render, voice
from storage.job import TERMINAL
from storage.objects import MediaSigner
from storage.rates import OwnRates
from virtual_loop import Process

_START_MS = 1_800_000_000_000
_LEASE_SECONDS = 60
_RESTART_SECONDS = 1
_PATIENCE_SECONDS = 1800
_UNFINISHED = (
    f"SELECT id, state, due_at, status_at FROM jobs WHERE status_at IS NOT NULL"  # noqa: S608
    f" OR state NOT IN ({', '.join(repr(str(state)) for state in TERMINAL)})"
)


class Stuck(Exception):
    """After hours not all is done; the message says what is not."""


class VirtualClock(Clock):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> int:
        return _START_MS + round(self._loop.time() * 1000)

    def seconds(self) -> float:
        return self.now() / 1000


@dataclass(frozen=True)
class Ground:
    """The database that worlds stand on, one after the other."""

    engine: AsyncEngine
    connection: AsyncConnection
    driver: Any


class World:
    """Everything that there is, and what befell it."""

    def __init__(self, ground: Ground, folder: Path, faults: Iterable[Fault], settings: dict[str, Any]) -> None:
        self.clock = VirtualClock()
        self.telegram = BotApi(now=self.clock.seconds)
        self.akool = Akool(now=self.clock.seconds, renderer=render, render_seconds=20)
        self.vault = Vault(folder, self.clock)
        self.outside = Context()
        self.network = Network(self.telegram, self.akool, self.vault, self.outside)
        self.hooks = Hooks(self._strike, {fault.at: fault for fault in faults})
        for server in (self.telegram, self.akool):
            wire = Wire(self.hooks, None, self.network.carry)
            server.http = httpx.AsyncClient(transport=wire, trust_env=False, timeout=30)
        self.settings = _settings(self.telegram, self.akool, folder, settings)
        self.database = PlainDatabase(ground.engine, ground.connection, self.clock)
        self.incarnations: list[Incarnation] = []
        self.struck: list[str] = []
        self.extra_copies: Counter[int] = Counter()  # by job: faults between Telegram's yes and our note
        self.risked: dict[int, list[int]] = {}  # by job: when "Try again (may cost twice)" was pressed
        self.repeated: Counter[int] = Counter()  # by job: presses of "Try again"
        self.lost_answers = 0  # of Telegram
        self.patience_seconds = _PATIENCE_SECONDS
        self.connection = ground.connection
        self._ground = ground
        self._recoveries: set[asyncio.Task[None]] = set()
        self.first_update = next(self.telegram.updates._ids) + 1
        self._halves = 0
        self._asked: set[tuple[int, int, int | None]] = set()

    # --- processes ---

    def boot(self) -> None:
        """Start the service: alone, or as a replica where another process is alive, if only frozen."""
        is_replica = any(other.is_alive for other in self.incarnations)
        process = Process(f"#{len(self.incarnations) + 1}")
        incarnation = Incarnation(process, asyncio.get_running_loop().create_future())
        self.incarnations.append(incarnation)
        self.network.bots = self.incarnations
        incarnation.start = process.start(self._start(incarnation, is_replica=is_replica))

    async def _start(self, incarnation: Incarnation, *, is_replica: bool) -> None:
        process, settings, ground = incarnation.process, self.settings, self._ground
        wire = Wire(self.hooks, process, self.network.carry)
        http = httpx.AsyncClient(transport=wire, trust_env=False, timeout=30)
        submit_http = httpx.AsyncClient(transport=wire, trust_env=False, timeout=akool.client.CREATE_TIMEOUT)
        opened = Opened(
            settings=settings,
            clock=self.clock,
            keys=Keys.of(settings),
            scratch=self.vault.folder,
            signer=MediaSigner([b"key"], f"http://{BOT}"),
            database=SimulatedDatabase(
                ground.engine,
                ground.connection,
                self.clock,
                hooks=self.hooks,
                process=process,
                is_replica=is_replica,
            ),
            store=SimulatedStore(self.vault, self.hooks, process),
            application=build_application(
                self.telegram.token,
                settings.telegram_api_url,
                Limiter(self.clock, OwnRates(self.clock.now)),
                transport=wire,
            ),
            akool_client=akool.Client(
                http,
                akool.ApiKey(self.akool.account.client_secret),
                base_url=settings.akool_api_url,
                submit_http=submit_http,
            ),
            http=http,
            studio=CheapStudio(),
        )
        service = Service(opened, sets_profile=False)
        incarnation.service = service
        incarnation.web = service.web.application()
        await service.start()

    def _strike(self, process: Process, fault: Fault, hook: Hook) -> None:
        process.stop()
        self.struck.append(f"{fault.trouble} {hook} (hook {fault.at})")
        struck = next(incarnation for incarnation in self.incarnations if incarnation.process is process)
        if fault.trouble is Trouble.CRASH:
            struck.death.set_result(None)
        work = self._recover(struck, fault)
        recovery = asyncio.get_running_loop().create_task(work, context=self.outside)
        self._recoveries.add(recovery)
        recovery.add_done_callback(self._recoveries.discard, context=self.outside)

    async def _recover(self, struck: Incarnation, fault: Fault) -> None:
        for (job_id,) in self.rows("SELECT id FROM jobs WHERE state = 'delivering' AND sending_at IS NOT NULL"):
            self.extra_copies[job_id] += 1
        await asyncio.sleep(_RESTART_SECONDS if fault.trouble is Trouble.CRASH else _LEASE_SECONDS + 1)
        if not any(incarnation.runs for incarnation in self.incarnations):
            self.boot()
        if fault.trouble is Trouble.CRASH:
            return
        if fault.thaws_after is None:
            await self.rest()
        else:
            await asyncio.sleep(fault.thaws_after)
        struck.thaw()

    async def end(self) -> None:
        """Let nothing go on, and nothing more have an effect."""
        self.hooks.is_closed = True
        for incarnation in self.incarnations:
            incarnation.process.go_on()
        left = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    # --- people ---

    @property
    def chats(self) -> list[Chat]:
        return list(self.telegram._chats.values())

    def person(self, user_id: int = 7) -> Chat:
        return self.telegram.private_chat(user_id=user_id, first_name=f"User {user_id}")

    async def send_photo(self, chat: Chat) -> Message:
        self._halves += 1
        return await chat.send_photo(photo(self._halves))

    async def send_voice(self, chat: Chat) -> Message:
        self._halves += 1
        return await chat.send_voice(voice(self._halves))

    async def press(self, chat: Chat, message: Message, data: str, *, by: dict[str, Any] | None = None) -> None:
        what, _, job_id = data.partition(":")
        if by is None and what == "risk":
            self.risked.setdefault(int(job_id), []).append(self.clock.now())
        elif by is None and what == "again":
            self.repeated[int(job_id)] += 1
        await chat.press(message, data, by=by)

    async def _answer_questions(self) -> None:
        """Whoever is asked takes the risk, once for each question."""
        for chat in self.chats:
            for message in list(chat.messages):
                risk = next((data for data in message.buttons.values() if data.startswith("risk:")), None)
                question = (chat.id, message.id, message.raw.get("edit_date"))
                if risk and question not in self._asked:
                    self._asked.add(question)
                    await self.press(chat, message, risk)

    # --- time ---

    async def recover(self) -> None:
        """Let time pass until all faults are over."""
        while self._recoveries:
            await asyncio.gather(*self._recoveries)

    async def live_on(self) -> None:
        """Let time pass until all faults are over and nothing is left to do."""
        await asyncio.sleep(10)
        await self.rest()
        while self._recoveries:
            await asyncio.gather(*self._recoveries)
            await asyncio.sleep(2 * _LEASE_SECONDS)
            await self.rest()

    async def rest(self) -> None:
        """Let time pass until nothing is left to do, for anybody who runs. Raises `Stuck`."""
        deadline = self.clock.now() + self.patience_seconds * 1000
        while unrest := self._unrest():
            if self.clock.now() > deadline:
                raise Stuck("; ".join(unrest))
            await self._answer_questions()
            await asyncio.sleep(3)

    def _unrest(self) -> list[str]:
        stored = dict(self.rows("SELECT update_id, due_at FROM updates"))
        return [
            *(
                f"job {number} is {state}, due {due}, status due {look}"
                for number, state, due, look in self.rows(_UNFINISHED)
            ),
            *(f"update {number} waits" for number in self.telegram.updates.pending if number not in stored),
            *(f"update {number} is not handled" for number, due_at in stored.items() if due_at is not None),
            *(f"video {video.id} renders" for video in self.akool.videos if video.status not in (COMPLETED, FAILED)),
        ]

    # --- looking ---

    def rows(self, question: str) -> list[Any]:
        """Ask the database past all hooks."""
        return cast("list[Any]", self._ground.driver._conn.execute(question).fetchall())

    def update_ids(self) -> range:
        """The numbers of all updates that there ever were."""
        return range(self.first_update, next(self.telegram.updates._ids))


def _settings(telegram: BotApi, akool: Akool, folder: Path, others: dict[str, Any]) -> Settings:
    values: dict[str, Any] = {
        "telegram_bot_token": telegram.token,
        "telegram_api_url": f"http://{TELEGRAM}",
        "akool_api_key": akool.account.client_secret,
        "akool_client_id": akool.account.client_id,
        "akool_api_url": f"http://{AKOOL}",
        "akool_poll_seconds": 5,
        "akool_render_timeout_seconds": 120,
        "public_url": f"http://{BOT}",
        "data_dir": folder,
        "allowed_users": "*",
        "app_secret": "nobody knows",
        **others,
    }
    return Settings(_env_file=None, **values)  # type: ignore[call-arg]
