"""The service: opened, started, stopped and closed, each in order. What it consists of stands in `parts.py`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import structlog

from bot import parts, resources
from bot.addresses import Neighbourhood
from bot.clock import Clock
from bot.config import Settings
from bot.credit import watch_credit
from bot.doorman import Doorman
from bot.exposition import Exposition
from bot.health import Health
from bot.intake import Intake, Poller
from bot.limiter import Limiter
from bot.loops import alongside, begun, end
from bot.metrics import job_moved
from bot.outlooks import Outlooks
from bot.parts import Bells, Books, Opened
from bot.patience import SECOND_MS
from bot.presence import present
from bot.probe import Probe
from bot.profile import Profile
from bot.pulse import watched
from bot.resources import Keys
from bot.server import Lobby, serving
from bot.sweeper import Sweeper
from bot.telegram import build_application, log_in
from bot.troubles import Outage
from bot.version import VERSION
from bot.watching import log_state
from bot.web import Web
from bot.webhook import Webhook, WebhookKeeper
from storage.database import Database, open_database
from storage.engine import DATABASE_ERRORS
from storage.job import Job
from storage.objects import MediaSigner, StoreError
from storage.rates import rates_of
from storage.replicas import Duty, Held
from storage.retention import Retention

log = structlog.get_logger()

_STOP_GRACE_SECONDS = 6


@asynccontextmanager
async def running(settings: Settings, clock: Clock, *, sets_profile: bool = True) -> AsyncIterator[Books]:
    """Run the service until the end of the block; gives its books.

    `sets_profile`: whether the bot's commands and descriptions are brought up to date, which takes some 70 calls.

    Raises `TokenRefused`, `DatabaseError`, `StoreError` or `OSError`.
    """
    resources.make_folder(settings.data_dir)
    keys = Keys.of(settings)
    signer = MediaSigner(keys.media, settings.public_url or "", now=lambda: clock.now() / SECOND_MS)
    neighbourhood = Neighbourhood(settings.trusted_proxies)
    async with AsyncExitStack() as stack:
        database_url = settings.database_url.get_secret_value()
        database = await stack.enter_async_context(open_database(database_url, now=clock.now))
        database.listener = _tell_of_state
        await stack.enter_async_context(present(settings, keys, database, clock))
        scratch = stack.enter_context(resources.scratch_folder(settings.data_dir))
        opened = Opened(
            settings=settings,
            clock=clock,
            keys=keys,
            scratch=scratch,
            signer=signer,
            database=database,
            store=await stack.enter_async_context(resources.open_store(settings, signer, scratch)),
            application=build_application(
                settings.telegram_bot_token.get_secret_value(),
                settings.telegram_api_url,
                Limiter(clock, rates_of(database)),
            ),
            akool_client=await stack.enter_async_context(resources.open_akool(settings)),
            http=await stack.enter_async_context(resources.open_http()),
            studio=stack.enter_context(resources.open_studio()),
        )
        service = Service(opened, sets_profile=sets_profile)
        root_url = await stack.enter_async_context(
            serving(
                Doorman(service.web.application(), clock, neighbourhood),
                host=settings.host,
                port=settings.port,
                lobby=Lobby(neighbourhood),
            )
        )
        stack.push_async_callback(service.stop)
        await service.start()
        await stack.enter_async_context(watched(service.signs(), clock))
        await stack.enter_async_context(alongside(watch_credit(opened.akool_client, clock), name="credit"))
        log.info("the bot is running", version=VERSION, url=root_url, **_what_is_on(settings, database))
        try:
            yield service.books
        finally:
            log.info("the bot is stopping")


class Service:
    """What runs, and in which order it starts and stops."""

    def __init__(self, opened: Opened, *, sets_profile: bool) -> None:
        settings, clock, database, bot = opened.settings, opened.clock, opened.database, opened.application.bot
        self._opened = opened
        self.books = books = Books(database)
        bells = Bells()
        outlooks = Outlooks(
            clock,
            jobs=books.jobs,
            repeats=books.repeats,
            ledger=books.ledger,
            breaker=books.breaker,
            spend_limit=settings.spend_limit_day,
        )
        parts.conversation(opened, books, bells, outlooks).register(opened.application)
        self._workers = parts.workers(opened, books, bells, outlooks)
        self._sweeper = Sweeper(
            books.updates,
            books.notices,
            Retention(database),
            opened.store,
            clock,
            retention_days=settings.retention_days,
        )
        self._profile = (
            Profile(bot, books.notices, Held(database, Duty.PROFILE), clock, settings.admins) if sets_profile else None
        )
        intake = Intake(books.updates, bells.updates.set)
        self._polls = settings.telegram_updates == "polling"
        self._duty_of_updates = Held(database, Duty.UPDATES)
        self._poller = Poller(
            opened.http,
            token=settings.telegram_bot_token.get_secret_value(),
            api_url=settings.telegram_api_url,
            intake=intake,
            duty=self._duty_of_updates,
            clock=clock,
        )
        webhook = Webhook(f"{settings.public_url}/telegram", opened.keys.telegram_webhook[0])
        self._webhook = WebhookKeeper(bot, books.notices, self._duty_of_updates, clock, webhook)
        self._tasks: set[asyncio.Task[None]] = set()
        self._endless: set[asyncio.Task[None]] = set()
        tracker = self._workers["tracker"]
        self._health = Health(
            clock,
            database=Probe("database", database.check, clock, *DATABASE_ERRORS),
            store=Probe("store", opened.store.check, clock, StoreError),
            fetched_at=(lambda: self._poller.beat_at) if self._polls else None,
            beat_at=lambda: tracker.beat_at,
        )
        self.web = Web(
            settings=settings,
            clock=clock,
            jobs=books.jobs,
            ledger=books.ledger,
            store=opened.store,
            signer=opened.signer,
            take_updates=intake.store,
            telegram_secrets=opened.keys.telegram_webhook,
            ring=bells.jobs.set,
            readiness=self._health.parts,
            metrics=Exposition(
                jobs=books.jobs,
                updates=books.updates,
                alarms=books.alarms,
                workers=list(self._workers.values()),
                health=self._health.parts,
                clock=clock,
            ).text,
            unstored=Outage(clock, "what comes in can't be stored"),
        )

    async def start(self) -> None:
        """Log in to Telegram, however long that takes, and start the loops. Raises `TokenRefused`."""
        database = self._opened.database
        if not database.is_postgres:  # we are the only process: whoever held a claim is dead
            await self.books.jobs.release_all()
            await self.books.updates.release_all()
            await self.books.statuses.release_all()
        await log_in(self._opened.application, self._opened.clock)
        if not self._polls:
            await self._webhook.set_up()
        for name, worker in self._workers.items():
            self._tasks.add(begun(worker.run(), name=name))
        self._spawn_endless(self._sweeper.run(Held(database, Duty.SWEEPING)), "sweeper")
        if self._profile is not None:
            self._spawn_endless(self._profile.run(), "profile")
        self._spawn_endless(*((self._poller.run(), "poller") if self._polls else (self._webhook.run(), "webhook")))

    async def stop(self) -> None:
        """Stop taking updates, let running steps finish or give their claims back, and log out."""
        self._health.is_stopping = True
        await end(*self._endless)
        await self._duty_of_updates.let_go()
        await asyncio.gather(*(worker.stop(grace_seconds=_STOP_GRACE_SECONDS) for worker in self._workers.values()))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._opened.application.shutdown()
        await self._opened.application.bot.shutdown()  # its connections too, where it never got as far as logging in

    def signs(self) -> dict[str, Callable[[], int]]:
        """The counters that the parts turn for as long as they are not stuck, by the parts' names."""
        polling = {"polling": lambda: self._poller.turns} if self._polls else {}
        return {"tracker": lambda: self._workers["tracker"].turns, **polling}

    def _spawn_endless(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._endless.add(begun(work, name=name))


def _tell_of_state(job: Job) -> None:
    """The database has it that a job is in another state, or new."""
    log_state(job)
    if len(job.story) > 1:
        job_moved(job)


def _what_is_on(settings: Settings, database: Database) -> dict[str, object]:
    """For the log's first line."""
    return {
        "updates": settings.telegram_updates,
        "database": "postgresql" if database.is_postgres else "sqlite",
        "store": "s3" if settings.stores_in_s3 else "folder",
        "callbacks": "opened" if settings.opens_callbacks else "blind" if settings.public_url else "none",
        "sentry": settings.sentry_dsn is not None,
        "tracing": settings.otel_exporter_otlp_endpoint is not None,
    }
