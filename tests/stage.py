"""Where the service is struck down: Telegram and AKOOL in this process, outliving it, and one database.

People come one after the other (`Case`), so that each strike is judged by itself, against what was true when it fell.
"""

import asyncio
import io
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from PIL import Image
from sqlalchemy import func, select

from bot.clock import Clock
from bot.patience import DAY_MS
from bot.sandbox import Akool, BotApi
from bot.sandbox.chats import Chat
from bot.sweeper import Sweeper
from s3_servers import BUCKET, s3_environment, s3_store
from storage.database import Database, open_database, open_reader
from storage.job import Job
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.notices import Notices
from storage.objects import LocalStore, MediaSigner, ObjectStore
from storage.retention import Retention
from storage.schema import calls, jobs, updates
from storage.updates import Updates
from victim import TURNED
from victims import PATIENCE_SECONDS, ForkServer, Victim
from world import PHOTO, free_port, render_cheaply

RATE = 15  # a lease of 60 s is over in four
LEASE_SECONDS = 61
RENDER_TIMEOUT_SECONDS = 900


@cache
def small_portrait() -> bytes:
    """Just large enough to be taken, and with a face in it, which is found in no time."""
    with Image.open(PHOTO) as image:
        image.thumbnail((300, 300))
        target = io.BytesIO()
        image.save(target, "JPEG")
    return target.getvalue()


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Return when one of them has ended, and end the others; raise what it has raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


@dataclass
class Stage:
    telegram: BotApi
    akool: Akool
    database_url: str
    folder: Path
    victims: ForkServer
    settings: dict[str, Any]
    s3_url: str | None = None
    epoch: float = field(default_factory=time.time)
    running: list[Victim] = field(default_factory=list)
    _people: Iterator[int] = field(default_factory=lambda: count(1000))
    _turned_seconds: float = 0

    def __post_init__(self) -> None:
        self._turned_file.write_bytes(TURNED.pack(0))

    @property
    def _turned_file(self) -> Path:
        return self.folder / "turned"

    @property
    def is_postgres(self) -> bool:
        return self.database_url.startswith("postgresql")

    @property
    def logins(self) -> int:
        return sum(1 for call in self.telegram.calls if call.name == "getMe")

    # --- processes ---

    def start(self, *, order: dict[str, Any] | None = None, **settings: Any) -> Victim:
        victim = self.victims.start(
            self.settings | settings,
            environment=s3_environment(self.s3_url) if self.s3_url else {},
            clock={"epoch": self.epoch, "rate": RATE, "turned": str(self._turned_file)},
            log=self.folder / "log",
            order=order,
        )
        self.running.append(victim)
        return victim

    async def let_leases_pass(self) -> None:
        """For who is started from now on, those of the dead are over; SQLite needs no such thing."""
        if self.is_postgres:
            await self.turn(seconds=LEASE_SECONDS)

    async def sees(self, look: Callable[[], object], *, unless: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Wait until Telegram shows it, or something else has come."""
        await first_of(self.telegram.wait_until(look, timeout_seconds=PATIENCE_SECONDS), unless())

    async def turn(self, *victims: Victim, seconds: float) -> None:
        """Let time pass, in all processes; victims that wait for it wake."""
        self._turned_seconds += seconds
        with self._turned_file.open("r+b") as file:  # in place: others have it mapped
            file.write(TURNED.pack(self._turned_seconds))
        for victim in victims:
            await victim.order()

    # --- the database, as the commands see it ---

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Database]:
        async with open_reader(self.database_url, now=Clock().now) as database:
            yield database

    async def jobs_of(self, chat: Chat) -> list[Job]:
        """The chat's jobs, oldest first."""
        async with self.reading() as database:
            return list(reversed(await Jobs(database).list(chat_id=chat.id)))

    async def is_at_akool(self, job: Job, database: Database) -> bool:
        """Whether AKOOL knows of the job, and so will call back."""
        asked = {video.request["webhookUrl"].rpartition("/")[2] for video in self.akool.videos}
        return any(call.token in asked for call in await Ledger(database).of_job(job.id))

    @property
    def last_words(self) -> str:
        """The end of what the processes have logged."""
        return (self.folder / "log").read_text()[-5000:]

    def let_renders_end(self) -> None:
        """Those that AKOOL has begun."""
        for video in self.akool.videos:
            video.go.set()

    def new_chat(self) -> Chat:
        return self.telegram.private_chat(user_id=next(self._people))

    # --- the books ---

    async def balance(self, risked: Mapping[int, int]) -> list[str]:
        """What is wrong with the whole: money, updates, media. `risked`: how often which chat risked to pay twice."""
        wrong = []
        async with open_database(self.database_url, now=Clock().now) as database:
            async with database.begin() as connection:
                job_by_token = dict((await connection.execute(select(calls.c.token, calls.c.job_id))).all())
                chat_by_job = dict((await connection.execute(select(jobs.c.id, jobs.c.chat_id))).all())
                left = await connection.scalar(select(func.count()).where(updates.c.due_at.isnot(None)))
                aside = await connection.scalar(select(func.count()).where(updates.c.error.isnot(None)))
            tokens = [call.parameters["webhookUrl"].rpartition("/")[2] for call in self.akool.creates]
            wrong += [f"a create call that is not in the ledger: {token}" for token in set(tokens) - set(job_by_token)]
            wrong += [f"a call made {times} times" for times in Counter(tokens).values() if times > 1]
            # A call that AKOOL refused, since it could not fetch the media just then, costs nothing.
            paid = [video.request["webhookUrl"].rpartition("/")[2] for video in self.akool.videos]
            for job, times in Counter(job_by_token.get(token) for token in paid).items():
                if job is not None and times > 1 + risked.get(chat_by_job[job], 0):
                    wrong.append(f"job {job} was paid {times} times")
            if left or aside or self.telegram.updates.pending:
                wrong.append(f"updates: {left} left, {aside} set aside, {len(self.telegram.updates.pending)} not taken")
            wrong += await self._sweep(database)
        return wrong

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[ObjectStore]:
        if self.s3_url is None:
            yield LocalStore(self.folder / "data" / "media", MediaSigner([b"key"], "http://127.0.0.1"))
            return
        prefix = self.settings["media_store"].removeprefix(f"s3://{BUCKET}/")
        async with s3_store(self.s3_url, temp_folder=self.folder, prefix=prefix) as store:
            yield store

    async def _sweep(self, database: Database) -> list[str]:
        """Two days on, every object belongs to a row, and every row has its objects."""

        class Later(Clock):
            def now(self) -> int:
                return super().now() + 2 * DAY_MS

        retention = Retention(database)
        async with self._store() as store:
            clock = Later()
            await Sweeper(Updates(database), Notices(database), retention, store, clock, retention_days=30).sweep()
            kept = {key async for key, _ in store.keys("")}
        async with database.begin() as connection:
            columns = (jobs.c.photo_key, jobs.c.voice_key, jobs.c.video_key)
            named = {key for column in columns for key in await connection.scalars(select(column)) if key}
        return [f"left: {key}" for key in kept - named] + [f"lost: {key}" for key in named - kept]


@asynccontextmanager
async def stage(
    folder: Path,
    database_url: str | None,
    victims: ForkServer,
    *,
    calls_back: bool,
    s3_url: str | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    """Set everything up but the service itself.

    On a new SQLite database where no other is named, and with media in a folder where no S3 server is.
    """
    folder.mkdir()
    database_url = database_url or f"sqlite:///{folder}/bot.sqlite3"
    telegram = BotApi(webhook_retry_seconds=0.1)
    akool = Akool(
        renderer=render_cheaply,
        callbacks="normal" if calls_back else "never",
        callback_retry_seconds=0.4,
        credit=10**6,
    )
    async with AsyncExitStack() as stack:
        telegram_url = await stack.enter_async_context(telegram.serving())
        akool_url = await stack.enter_async_context(akool.serving())
        port = free_port()
        values: dict[str, Any] = {
            "telegram_bot_token": telegram.token,
            "telegram_api_url": telegram_url,
            "akool_api_key": akool.account.client_secret,
            "akool_api_url": akool_url,
            "akool_poll_seconds": 10 if calls_back else 1,
            "akool_render_timeout_seconds": RENDER_TIMEOUT_SECONDS,
            "public_url": f"http://127.0.0.1:{port}",
            "port": port,
            "data_dir": str(folder / "data"),
            "database_url": database_url,
            "app_secret": "the-secret-of-the-app",
            "allowed_users": "*",
            **({"akool_client_id": akool.account.client_id} if calls_back else {}),
            **({"media_store": f"s3://{BUCKET}/{uuid4().hex}", "media_delivery": "proxy"} if s3_url else {}),
            **settings,
        }
        here = Stage(telegram, akool, database_url, folder, victims, values, s3_url)
        try:
            yield here
        finally:
            for victim in here.running:
                victim.send(signal.SIGKILL)
                victim.forget()
