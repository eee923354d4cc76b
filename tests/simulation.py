"""A world in one process and one thread: the real service, a local Telegram, a local AKOOL, and time that jumps.

The service runs in processes (`virtual_loop.Process`) that crash or freeze at planned hooks. After a crash another
one starts on the same database, as after `kill -9`. Beside a frozen one another takes over once the lease is over,
as a replica does; the frozen one goes on later, and knows nothing of all that.
"""

import asyncio
import json
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import httpx
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

import akool
from bot.app import Service
from bot.clock import Clock
from bot.config import Settings
from bot.limiter import Limiter
from bot.resources import Keys
from bot.sandbox import Akool, BotApi
from bot.sandbox.chats import Chat, Message
from bot.sandbox.videos import COMPLETED, FAILED
from bot.telegram import build_application
from media_samples import saved, sound
from PIL import Image
from simulated import CheapStudio, Fault, Hook, Hooks, PlainDatabase, SimulatedDatabase, SimulatedStore, Trouble, Vault, Wire
from storage.database import open_database
from storage.jobs import TERMINAL
from storage.objects import MediaSigner, content_type
from virtual_loop import Process, VirtualLoop

_OK = 1000  # AKOOL's code
_START_MS = 1_800_000_000_000
_LEASE_SECONDS = 60
_RESTART_SECONDS = 1
_PATIENCE_SECONDS = 4 * 3600
_compiled: dict[Any, Any] = {}
"""Statements are compiled once for all worlds."""

_TELEGRAM, _AKOOL, _BOT = "telegram.test", "localhost", "127.0.0.1"


class Stuck(Exception):
    """After hours all was not well; the message says what was not."""


class VirtualClock(Clock):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> int:
        return _START_MS + round(self._loop.time() * 1000)


class _HungUp(Exception):
    """The connection was closed instead of an answer."""


@dataclass(eq=False)
class Incarnation:
    """The service, from its start to its end."""

    process: Process
    death: asyncio.Future[None]
    web: ASGIApp | None = None
    task: asyncio.Task[None] | None = None
    service: Service | None = None

    @property
    def is_alive(self) -> bool:
        return not self.death.done()

    @property
    def runs(self) -> bool:
        return self.is_alive and not self.process.is_stopped


@cache
def empty_database() -> bytes:
    """An SQLite file with our tables, made once."""

    async def make(path: Path) -> None:
        async with open_database(f"sqlite:///{path}", now=lambda: _START_MS):
            pass

    with TemporaryDirectory() as folder:
        path = Path(folder, "bot.sqlite3")
        asyncio.run(make(path))
        return path.read_bytes()


@cache
def _photo() -> bytes:
    return saved(Image.new("RGB", (100, 100), "orange"), "JPEG")


@cache
def _voice() -> bytes:
    return sound("mp3", "libmp3lame", seconds=0.6)


def render(photo: Path, audio: Path, target: Path) -> None:
    """A video that names its photo and its voice."""
    target.write_bytes(b"video of " + b" and ".join(mark_of(path.read_bytes()) for path in (photo, audio)))


def mark_of(data: bytes) -> bytes:
    return data[-8:]


@dataclass
class World:
    """Everything that there is."""

    telegram: BotApi
    akool: Akool
    clock: Clock
    hooks: Hooks
    vault: Vault
    settings: Settings
    stack: AsyncExitStack
    folder: Path
    incarnations: list[Incarnation] = field(default_factory=list)
    recoveries: set[asyncio.Task[None]] = field(default_factory=set)
    risked: Counter[int] = field(default_factory=Counter)
    extra_copies: Counter[int] = field(default_factory=Counter)
    faults_struck: list[str] = field(default_factory=list)
    halves: int = 0
    refused: set[str] = field(default_factory=set)
    repeated: Counter[tuple[int, int]] = field(default_factory=Counter)
    is_chatty: bool = False
    engine: Any = None
    connection: Any = None
    raw: Any = None
    outside: Context | None = None
    past_all_hooks: Any = None
    _first_update: int = 0
    _answered: set[tuple[int, int]] = field(default_factory=set)

    # --- processes ---

    def boot(self) -> Incarnation:
        """Start the service: alone, or as a replica where another process is alive, if only frozen."""
        is_replica = any(other.is_alive for other in self.incarnations)
        process = Process(f"#{len(self.incarnations) + 1}")
        incarnation = Incarnation(process, asyncio.get_running_loop().create_future())
        self.incarnations.append(incarnation)
        incarnation.task = process.start(self._live(incarnation, is_replica=is_replica))
        return incarnation

    async def _live(self, incarnation: Incarnation, *, is_replica: bool) -> None:
        process = incarnation.process
        wire = Wire(self.hooks, process, self.carry)
        http = httpx.AsyncClient(transport=wire, trust_env=False, timeout=30)
        submit_http = httpx.AsyncClient(transport=wire, trust_env=False, timeout=akool.client.CREATE_TIMEOUT)
        settings = self.settings
        scratch = self.folder / f"scratch-{len(self.incarnations)}"
        scratch.mkdir()
        incarnation.service = service = Service(
            settings,
            self.clock,
            keys=Keys.of(settings),
            scratch=scratch,
            signer=MediaSigner([b"key"], f"http://{_BOT}"),
            database=SimulatedDatabase(
                self.engine, self.connection, self.clock, hooks=self.hooks, process=process, is_replica=is_replica
            ),
            store=SimulatedStore(self.vault, self.hooks, process),
            application=build_application(
                self.telegram.token, settings.telegram_api_url, Limiter(self.clock), transport=wire
            ),
            akool_client=akool.Client(
                http, akool.ApiKey(self.akool.account.client_secret), base_url=f"http://{_AKOOL}", submit_http=submit_http
            ),
            http=http,
            studio=CheapStudio(),
        )
        incarnation.web = service.web.application()
        await service.start()

    def _strike(self, process: Process, fault: Fault, hook: Hook) -> None:
        process.stop()
        self.faults_struck.append(f"{fault.trouble} {hook} (hook {fault.at})")
        struck = next(incarnation for incarnation in self.incarnations if incarnation.process is process)
        if fault.trouble is Trouble.CRASH:
            struck.death.set_result(None)
        work = self._recover(struck, fault)
        recovery = asyncio.get_running_loop().create_task(work, context=self.outside)
        self.recoveries.add(recovery)
        recovery.add_done_callback(self.recoveries.discard, context=self.outside)

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
        struck.process.go_on()

    # --- the network ---

    async def carry(self, request: httpx.Request) -> httpx.Response:
        """Bring a request to whom it is for, and the answer back, as a network does: servers outlive their clients."""
        loop = asyncio.get_running_loop()
        server: Incarnation | None = None
        match request.url.host:
            case host if host in (_TELEGRAM, _AKOOL):
                app = self.telegram.app if host == _TELEGRAM else self.akool.app
                work = loop.create_task(self._serve(app, request), context=self.outside)
            case _:
                server = next((some for some in reversed(self.incarnations) if some.is_alive and some.web), None)
                if server is None:
                    raise httpx.ConnectError("nobody listens")
                if request.url.path.startswith("/media/"):
                    return self._media(request.url.path.removeprefix("/media/"))
                work = server.process.start(_answer(cast("ASGIApp", server.web), request))
        end: list[asyncio.Future[Any]] = [server.death] if server else []
        timeout = request.extensions["timeout"]["read"]
        done, _ = await asyncio.wait([work, *end], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise httpx.ReadTimeout("no answer")
        if work not in done:
            raise httpx.ReadError("the server died")
        try:
            response: httpx.Response = await work
        except _HungUp:
            raise httpx.RemoteProtocolError("hung up") from None
        return response

    async def _serve(self, app: ASGIApp, request: httpx.Request) -> httpx.Response:
        response = await _answer(app, request)
        if request.url.path.endswith("/createbytalkingphoto"):
            code = json.loads(await response.aread()).get("code")
            if code != _OK:
                self.refused.add(json.loads(request.content)["webhookUrl"].rpartition("/")[2])
        return response

    def _media(self, key: str) -> httpx.Response:
        """Stand in for the service's own media route, whose files are read in threads that are not the loop's."""
        if key not in self.vault.written:
            return httpx.Response(404)
        return httpx.Response(200, headers={"Content-Type": content_type(key)}, content=self.vault.path(key).read_bytes())

    # --- people ---

    @property
    def chats(self) -> list[Chat]:
        return list(self.telegram._chats.values())

    def update_ids(self) -> range:
        """The numbers of all updates that there ever were."""
        return range(self._first_update, next(self.telegram.updates._ids))

    def person(self, user_id: int = 7) -> Chat:
        return self.telegram.private_chat(user_id=user_id, first_name=f"User {user_id}")

    async def send_photo(self, chat: Chat) -> Message:
        return await chat.send_photo(_photo() + self._next_mark())

    async def send_voice(self, chat: Chat) -> Message:
        id3v1 = b"TAG" + bytes(117)  # what may follow the sound in an MP3
        return await chat.send_voice(_voice() + id3v1 + self._next_mark())

    def _next_mark(self) -> bytes:
        self.halves += 1
        return f"[{self.halves:06}]".encode()

    async def answer_questions(self) -> None:
        """Whoever is asked takes the risk, once for each question."""
        for chat in self.chats:
            for message in list(chat.messages):
                for data in message.buttons.values():
                    if data.startswith("risk:") and (chat.id, message.id) not in self._answered:
                        self._answered.add((chat.id, message.id))
                        await self.press(chat, message, data)

    async def press(self, chat: Chat, message: Message, data: str) -> None:
        if data.startswith("risk:"):
            self.risked[int(data.partition(":")[2])] += 1
        await chat.press(message, data)

    # --- time ---

    async def rest(self) -> None:
        """Let time pass until nothing is left to do, for anybody who runs."""
        deadline = self.clock.now() + _PATIENCE_SECONDS * 1000
        while unrest := self.unrest():
            if self.clock.now() > deadline:
                raise Stuck("; ".join(unrest))
            await self.answer_questions()
            await asyncio.sleep(3)

    async def live_on(self) -> None:
        """Let time pass until all faults are over and nothing is left to do."""
        await asyncio.sleep(10)
        await self.rest()
        while self.recoveries:
            await asyncio.gather(*self.recoveries)
            await asyncio.sleep(2 * _LEASE_SECONDS)
            await self.rest()

    def unrest(self) -> list[str]:
        """What is not finished yet."""
        waiting = f"state NOT IN ({', '.join(repr(str(state)) for state in TERMINAL)}) OR status_at IS NOT NULL"
        found = [
            f"job {job_id} is {state}, due {due_at}, status due {status_at}"
            for job_id, state, due_at, status_at in self.rows(
                f"SELECT id, state, due_at, status_at FROM jobs WHERE {waiting}"  # noqa: S608
            )
        ]
        found += [f"update {number} waits" for number in self.telegram.updates.pending if not self._is_stored(number)]
        found += [
            f"update {number} is not handled"
            for (number,) in self.rows("SELECT update_id FROM updates WHERE due_at IS NOT NULL")
        ]
        found += [f"render {video.id}" for video in self.akool.videos if video.status not in (COMPLETED, FAILED)]
        return found

    def _is_stored(self, update_id: int) -> bool:
        return bool(self.rows("SELECT 1 FROM updates WHERE update_id = ?", update_id))

    def rows(self, question: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the database past all hooks."""
        return cast("list[tuple[Any, ...]]", cast("sqlite3.Connection", self.raw._conn).execute(question, values).fetchall())


class _AtOnce:
    """Takes the place of the queue to aiosqlite's thread: what stands in it is done now."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Any]) -> None:
        future, work = item
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - it is the waiter's
            if future is not None:
                future.set_exception(error)
        else:
            if future is not None:
                future.set_result(result)


async def _answer(app: ASGIApp, request: httpx.Request) -> httpx.Response:
    async def with_extensions(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {"sandbox.hang_up": _hang_up}}, receive, send)

    return await httpx.ASGITransport(with_extensions).handle_async_request(request)


async def _hang_up() -> None:
    raise _HungUp


@asynccontextmanager
async def world(faults: Iterable[Fault] = (), *, seed: int = 1, **options: Any) -> AsyncIterator[World]:
    """A world with the service running in it, until the end of the block. `options` are `Akool`'s."""
    random.seed(seed)
    loop = cast("VirtualLoop", asyncio.get_running_loop())
    clock = VirtualClock()
    seconds = lambda: clock.now() / 1000  # noqa: E731
    async with AsyncExitStack() as stack:
        shared_memory = Path("/dev/shm")  # noqa: S108
        folder = Path(
            stack.enter_context(TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None))
        )
        database_file = folder / "bot.sqlite3"
        database_file.write_bytes(empty_database())
        stack.enter_context(structlog.testing.capture_logs())
        telegram = BotApi(now=seconds)
        telegram.root_url = f"http://{_TELEGRAM}"
        akool_ = Akool(
            now=seconds, renderer=render, **{"render_seconds": 20, "callback_retry_seconds": 1, **options}
        )
        akool_.root_url = f"http://{_AKOOL}"
        settings = Settings(
            _env_file=None,  # type: ignore[call-arg]
            telegram_bot_token=telegram.token,
            telegram_api_url=telegram.root_url,
            akool_api_key=akool_.account.client_secret,
            akool_client_id=akool_.account.client_id,
            akool_api_url=akool_.root_url,
            akool_poll_seconds=5,
            akool_render_timeout_seconds=120,
            public_url=f"http://{_BOT}",
            data_dir=folder,
            allowed_users="*",
            app_secret="x",
        )
        here = World(
            telegram, akool_, clock, cast("Hooks", None), Vault(folder, clock), settings, stack, folder
        )
        here._first_update = next(telegram.updates._ids) + 1
        here.hooks = Hooks(here._strike, {fault.at: fault for fault in faults})
        here.outside = Context()
        outgoing = Wire(here.hooks, None, here.carry)
        for server in (telegram, akool_):
            server.http = httpx.AsyncClient(transport=outgoing, trust_env=False, timeout=30)
        with loop.patiently():
            database = await stack.enter_async_context(
                open_database(f"sqlite:///{database_file}", now=clock.now)
            )
            here.engine = database._engine
            here.connection = await here.engine.connect()
            await here.connection.execution_options(compiled_cache=_compiled)
        here.raw = (await here.connection.get_raw_connection()).driver_connection
        here.past_all_hooks = PlainDatabase(here.engine, here.connection, clock)
        queue, here.raw._tx = here.raw._tx, _AtOnce()
        try:
            here.boot()
            yield here
        finally:
            here.hooks.is_closed = True
            for incarnation in here.incarnations:
                incarnation.process.go_on()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            here.raw._tx = queue
            with loop.patiently():
                await here.connection.close()
                await stack.aclose()


def simulate(story: Any, faults: Sequence[Fault] = (), *, seed: int = 1, **options: Any) -> Any:
    """Run `story(world)` in a new world, and return what it returns."""
    empty_database()

    async def run() -> Any:
        async with world(faults, seed=seed, **options) as here:
            return await story(here)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())
