"""The wiring: everything that the service consists of, opened in order and closed in reverse."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import structlog
from sqlalchemy.exc import SQLAlchemyError
from telegram.error import InvalidToken, TelegramError

import akool
from bot import resources
from bot.clock import Clock
from bot.config import Settings
from bot.delivery import Delivery
from bot.halves import Halves
from bot.handlers import Handlers
from bot.intake import ALLOWED_UPDATES, KEPT_MS, Dispatcher, Intake, Poller
from bot.media import Studio
from bot.metrics import Metrics
from bot.patience import HOUR_MS, MINUTE_MS, SECOND_MS, backoff_ms
from bot.pipeline import Pipeline
from bot.resources import Keys
from bot.results import Results
from bot.server import serving
from bot.status import LOOK_EVERY_MS, StatusKeeper
from bot.telegram import Files, build_application
from bot.tracker import Tracker
from bot.web import Web
from bot.worker import Worker
from storage.database import Database, open_database
from storage.drafts import Drafts
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.notices import Notices
from storage.objects import MediaSigner, ObjectStore, StoreError
from storage.statuses import Statuses
from storage.updates import Updates

log = structlog.get_logger()

_STOP_GRACE_SECONDS = 6
_UPDATES_STALE_MS = 3 * MINUTE_MS
_TRACKER_STALE_MS = MINUTE_MS


class CannotStart(Exception):
    """The service can't run like this; the message says why and what to do."""


@asynccontextmanager
async def running(settings: Settings, clock: Clock) -> AsyncIterator[str]:
    """Run the service until the end of the block; gives the root URL that it listens at.

    Raises `CannotStart`, `DatabaseError`, `StoreError` or `OSError`.
    """
    keys = Keys.of(settings)
    signer = MediaSigner([keys.media], settings.public_url or "", now=lambda: clock.now() / SECOND_MS)
    async with AsyncExitStack() as stack:
        database_url = settings.database_url.get_secret_value()
        database = await stack.enter_async_context(open_database(database_url, now=clock.now))
        scratch = stack.enter_context(resources.scratch_folder(settings.data_dir, alone=not database.is_postgres))
        service = Service(
            settings,
            clock,
            keys=keys,
            scratch=scratch,
            signer=signer,
            database=database,
            store=await stack.enter_async_context(resources.open_store(settings, signer, scratch)),
            akool_client=await stack.enter_async_context(resources.open_akool(settings)),
            http=await stack.enter_async_context(resources.open_http()),
            studio=stack.enter_context(resources.open_studio()),
        )
        root_url = await stack.enter_async_context(
            serving(service.web.application(), host=settings.host, port=settings.port)
        )
        stack.push_async_callback(service.stop)
        await service.start()
        log.info("the bot is running", url=root_url)
        yield root_url
        log.info("the bot is stopping")


class Service:
    """The parts, how they hang together, and in which order they start and stop."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        keys: Keys,
        scratch: Path,
        signer: MediaSigner,
        database: Database,
        store: ObjectStore,
        akool_client: akool.Client,
        http: httpx.AsyncClient,
        studio: Studio,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._keys = keys
        self._database = database
        self._store = store
        self._jobs = jobs = Jobs(database)
        self._updates = updates = Updates(database)
        self._notices = notices = Notices(database)
        drafts, ledger, statuses = Drafts(database), Ledger(database), Statuses(database)
        updates_bell, jobs_bell, statuses_bell = asyncio.Event(), asyncio.Event(), asyncio.Event()

        token = settings.telegram_bot_token.get_secret_value()
        self._application = application = build_application(token, settings.telegram_api_url)
        delivery = Delivery(application.bot, studio, store, clock, scratch)
        pipeline = Pipeline(
            settings=settings,
            clock=clock,
            jobs=jobs,
            drafts=drafts,
            ledger=ledger,
            store=store,
            client=akool_client,
            halves=Halves(
                Files(application.bot, http), studio, store, scratch, max_voice_seconds=settings.max_voice_seconds
            ),
            results=Results(http, trust_private=settings.akool_is_local),
            studio=studio,
            delivery=delivery,
            scratch=scratch,
            ring=jobs_bell.set,
        )
        Handlers(settings, jobs, drafts, ledger, notices, ring=_both(jobs_bell, statuses_bell)).register(application)

        intake = Intake(updates, updates_bell.set)
        dispatcher = Dispatcher(application, updates, clock)
        tracker = Tracker(
            pipeline, jobs, ledger, clock, at_akool=settings.akool_max_concurrent, changed=statuses_bell.set
        )
        keeper = StatusKeeper(settings, statuses, jobs, delivery, clock)
        idle_seconds = 1.0 if database.is_postgres else 15.0  # nobody else writes to our SQLite
        self._tracker = Worker(
            "tracker",
            claim=tracker.claim,
            next_due=jobs.next_due,
            do=tracker.do,
            bell=jobs_bell,
            clock=clock,
            at_once=32,
            idle_seconds=idle_seconds,
        )
        self._workers: list[Worker[Any]] = [
            Worker(
                "updates",
                claim=dispatcher.claim,
                next_due=updates.next_due,
                do=dispatcher.do,
                bell=updates_bell,
                clock=clock,
                at_once=16,
                idle_seconds=idle_seconds,
            ),
            self._tracker,
            Worker(
                "statuses",
                claim=lambda most: statuses.claim(most, lease_ms=LOOK_EVERY_MS),
                next_due=statuses.next_due,
                do=keeper.do,
                bell=statuses_bell,
                clock=clock,
                at_once=16,
                idle_seconds=idle_seconds,
            ),
        ]
        self._poller = Poller(http, token=token, api_url=settings.telegram_api_url, intake=intake, clock=clock)
        self._polls = settings.telegram_updates == "polling"
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_stopping = False
        self.web = Web(
            settings=settings,
            clock=clock,
            jobs=jobs,
            ledger=ledger,
            store=store,
            signer=signer,
            take_updates=intake.store,
            telegram_secret=keys.telegram_webhook,
            ring=jobs_bell.set,
            readiness=self.readiness,
            metrics=Metrics(jobs, updates, self._workers, clock).exposition,
        )

    async def start(self) -> None:
        """Log in to Telegram, however long that takes, and start the loops. Raises `CannotStart`."""
        if not self._database.is_postgres:  # we are the only process: whoever held a claim is dead
            await self._jobs.release_all()
            await self._updates.release_all()
        await self._log_in()
        for worker in self._workers:
            self._spawn(worker.run(), worker.name)
        self._spawn(self._prune(), "prune")
        if self._polls:
            self._spawn(self._poller.run(), "poller")

    async def stop(self) -> None:
        """Stop taking updates, let running steps finish or give their claims back, and log out."""
        self._is_stopping = True
        endless = [task for task in self._tasks if task.get_name() in ("poller", "prune")]
        for task in endless:
            task.cancel()
        await asyncio.gather(*(worker.stop(grace_seconds=_STOP_GRACE_SECONDS) for worker in self._workers))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._application.shutdown()

    async def readiness(self) -> Mapping[str, bool]:
        """Whether each part does its work now."""
        now = self._clock.now()
        return {
            "database": await _works(self._database.check),
            "store": await _works(self._store.check),
            "updates": not self._polls or now - self._poller.beat_at < _UPDATES_STALE_MS,
            "tracker": now - self._tracker.beat_at < _TRACKER_STALE_MS,
            "running": not self._is_stopping,
        }

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)

    async def _log_in(self) -> None:
        attempts = 0
        while True:
            try:
                await self._application.initialize()
                await self._choose_updates()
            except InvalidToken:
                raise CannotStart("Telegram does not know this TELEGRAM_BOT_TOKEN: ask @BotFather for it") from None
            except TelegramError as error:
                log.warning("Telegram can't be reached; trying again", error=type(error).__name__)
                await self._clock.wait(asyncio.Event(), seconds=backoff_ms(attempts, most_ms=MINUTE_MS) / SECOND_MS)
                attempts += 1
            else:
                return

    async def _choose_updates(self) -> None:
        bot = self._application.bot
        if self._polls:
            await bot.delete_webhook(drop_pending_updates=False)
        else:
            await bot.set_webhook(
                f"{self._settings.public_url}/telegram",
                secret_token=self._keys.telegram_webhook,
                allowed_updates=ALLOWED_UPDATES,
            )

    async def _prune(self) -> None:
        while True:
            try:
                await self._updates.prune(older_than_ms=KEPT_MS)
                await self._notices.prune(older_than_ms=KEPT_MS)
            except SQLAlchemyError:
                log.exception("old rows can't be pruned; trying again in an hour")
            await self._clock.wait(asyncio.Event(), seconds=HOUR_MS / SECOND_MS)


def _both(*bells: asyncio.Event) -> Callable[[], None]:
    def ring() -> None:
        for bell in bells:
            bell.set()

    return ring


async def _works(check: Callable[[], Coroutine[Any, Any, None]]) -> bool:
    try:
        await check()
    except (SQLAlchemyError, StoreError, OSError, TimeoutError) as error:
        log.warning("a part does not work", error=type(error).__name__)
        return False
    return True
