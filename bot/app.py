"""The wiring: everything that the service consists of, opened in order and closed in reverse."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import structlog

import akool
from bot import resources
from bot.addresses import Neighbourhood
from bot.admins import Admins
from bot.asking import Asking
from bot.buttons import Buttons
from bot.callers import Callers
from bot.clock import Clock
from bot.commands import Commands
from bot.config import Settings
from bot.credit import watch_credit
from bot.delivery import Delivery
from bot.doorman import Doorman
from bot.exposition import Exposition
from bot.farewell import Farewell
from bot.groups import Groups
from bot.halves import Halves
from bot.handlers import Handlers
from bot.health import Health
from bot.intake import Dispatcher, Intake, Poller
from bot.limiter import Limiter
from bot.loops import alongside, begun
from bot.media import Studio
from bot.metrics import job_moved
from bot.operator import OperatorsVoice
from bot.outlooks import Outlooks
from bot.patience import LEASE_MS, SECOND_MS
from bot.pipeline import Pipeline
from bot.presence import present
from bot.probe import Probe
from bot.profile import Profile
from bot.pulse import watched
from bot.resources import Keys
from bot.results import Results
from bot.server import Lobby, serving
from bot.setbacks import Setbacks
from bot.status import StatusKeeper
from bot.sweeper import Sweeper
from bot.telegram import Files, TelegramApplication, build_application, log_in
from bot.tracker import Tracker
from bot.version import VERSION
from bot.watching import log_state
from bot.web import Web
from bot.webhook import Webhook, WebhookKeeper
from bot.worker import Queue, Worker
from storage.alarms import Alarms
from storage.breaker import Breaker
from storage.database import DATABASE_ERRORS, Database, open_database
from storage.drafts import Drafts
from storage.forgetting import Forgetting
from storage.jobs import Job, Jobs
from storage.ledger import Ledger
from storage.notices import Notices
from storage.objects import MediaSigner, ObjectStore, StoreError
from storage.peers import Peers
from storage.quotas import Quotas
from storage.rates import rates_of
from storage.repeats import Repeats
from storage.replicas import Duty, Held
from storage.reports import Reports
from storage.retention import Retention
from storage.statuses import Statuses
from storage.updates import Updates

log = structlog.get_logger()

_AT_ONCE = 32  # pieces of work per loop
_STOP_GRACE_SECONDS = 6


@asynccontextmanager
async def running(settings: Settings, clock: Clock, *, sets_profile: bool = True) -> AsyncIterator[str]:
    """Run the service until the end of the block; gives the root URL that it listens at.

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
        akool_client = await stack.enter_async_context(resources.open_akool(settings))
        service = Service(
            settings,
            clock,
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
            akool_client=akool_client,
            http=await stack.enter_async_context(resources.open_http()),
            studio=stack.enter_context(resources.open_studio()),
            sets_profile=sets_profile,
        )
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
        await stack.enter_async_context(alongside(watch_credit(akool_client, clock), name="credit"))
        log.info("the bot is running", version=VERSION, url=root_url, **_what_is_on(settings, database))
        try:
            yield root_url
        finally:
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
        application: TelegramApplication,
        akool_client: akool.Client,
        http: httpx.AsyncClient,
        studio: Studio,
        sets_profile: bool,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._database = database
        self._jobs = jobs = Jobs(database)
        self._updates = updates = Updates(database)
        notices = Notices(database)
        self._sweeper = Sweeper(
            updates, notices, Retention(database), store, clock, retention_days=settings.retention_days
        )
        self._statuses = statuses = Statuses(database)
        drafts, repeats, ledger = Drafts(database), Repeats(database), Ledger(database)
        breaker, alarms, peers = Breaker(database), Alarms(database), Peers(database)
        updates_bell, jobs_bell, statuses_bell = asyncio.Event(), asyncio.Event(), asyncio.Event()

        self._application = application
        delivery = Delivery(application.bot, studio, store, clock, scratch, most_bytes=settings.sizes.up)
        files = Files(
            application.bot,
            http,
            most_bytes=settings.sizes.down,
            on_our_disk=settings.telegram_local_files,
        )
        pipeline = Pipeline(
            settings=settings,
            clock=clock,
            jobs=jobs,
            drafts=drafts,
            ledger=ledger,
            store=store,
            client=akool_client,
            halves=Halves(files, studio, store, scratch, max_voice_seconds=settings.max_voice_seconds),
            results=Results(http, trust_private=settings.akool_is_local),
            studio=studio,
            delivery=delivery,
            setbacks=Setbacks(clock, jobs, ledger, breaker, alarms),
            scratch=scratch,
            ring=jobs_bell.set,
        )
        ring = _both(jobs_bell, statuses_bell)
        bot = application.bot
        admins = [admin for admin in settings.admin_users if admin != "*"]
        outlooks = Outlooks(
            clock, jobs=jobs, repeats=repeats, ledger=ledger, breaker=breaker, spend_limit=settings.spend_limit_day
        )
        groups = Groups(bot, jobs, ring)
        commands = Commands(bot, settings, clock, peers, jobs, ledger, Quotas(database), outlooks, ring)
        Handlers(
            bot=bot,
            callers=Callers(settings, peers),
            notices=notices,
            groups=groups,
            asking=Asking(bot, drafts, repeats, ring),
            commands=commands,
            admins=Admins(
                bot, settings, clock, akool_client, peers, jobs, repeats, ledger, breaker, Reports(database), ring
            ),
            buttons=Buttons(
                bot=bot,
                jobs=jobs,
                drafts=drafts,
                repeats=repeats,
                ledger=ledger,
                peers=peers,
                groups=groups,
                commands=commands,
                farewell=Farewell(bot, Forgetting(database), store),
                ring=ring,
            ),
        ).register(application)
        self._profile = Profile(bot, notices, Held(database, Duty.PROFILE), clock, admins) if sets_profile else None

        intake = Intake(updates, updates_bell.set)
        dispatcher = Dispatcher(application, updates, clock)
        tracker = Tracker(
            pipeline,
            jobs,
            ledger,
            clock,
            at_akool=settings.akool_max_concurrent,
            spend_limit=settings.spend_limit_day,
            changed=statuses_bell.set,
        )
        keeper = StatusKeeper(
            settings,
            clock,
            statuses=statuses,
            jobs=jobs,
            outlooks=outlooks,
            notices=notices,
            peers=peers,
            delivery=delivery,
        )
        voice = OperatorsVoice(alarms, peers, bot, clock, admins)
        idle_seconds = 1.0 if database.is_postgres else 15.0  # nobody else writes to our SQLite

        def worker(
            name: str, queue: Queue[Any], do: Callable[[Any], Awaitable[None]], bell: asyncio.Event
        ) -> Worker[Any]:
            return Worker(
                name,
                queue=queue,
                do=do,
                bell=bell,
                clock=clock,
                at_once=_AT_ONCE,
                idle_seconds=idle_seconds,
                lease_ms=LEASE_MS,
            )

        self._tracker = worker("tracker", tracker, tracker.do, jobs_bell)
        self._workers = [
            worker("updates", updates, dispatcher.do, updates_bell),
            self._tracker,
            worker("statuses", statuses, keeper.do, statuses_bell),
            worker("alarms", alarms, voice.do, asyncio.Event()),
        ]
        self._duty_of_updates = Held(database, Duty.UPDATES)
        self._poller = Poller(
            http,
            token=settings.telegram_bot_token.get_secret_value(),
            api_url=settings.telegram_api_url,
            intake=intake,
            duty=self._duty_of_updates,
            clock=clock,
        )
        self._polls = settings.telegram_updates == "polling"
        webhook = Webhook(f"{settings.public_url}/telegram", keys.telegram_webhook[0])
        self._webhook = WebhookKeeper(bot, notices, self._duty_of_updates, clock, webhook)
        self._tasks: set[asyncio.Task[None]] = set()
        self._endless: set[asyncio.Task[None]] = set()
        self._health = Health(
            clock,
            database=Probe(database.check, clock, *DATABASE_ERRORS),
            store=Probe(store.check, clock, StoreError),
            fetched_at=(lambda: self._poller.beat_at) if self._polls else None,
            beat_at=lambda: self._tracker.beat_at,
        )
        self.web = Web(
            settings=settings,
            clock=clock,
            jobs=jobs,
            ledger=ledger,
            store=store,
            signer=signer,
            take_updates=intake.store,
            telegram_secrets=keys.telegram_webhook,
            ring=jobs_bell.set,
            readiness=self._health.parts,
            metrics=Exposition(
                jobs=jobs,
                updates=updates,
                alarms=alarms,
                workers=self._workers,
                health=self._health.parts,
                clock=clock,
            ).text,
        )

    async def start(self) -> None:
        """Log in to Telegram, however long that takes, and start the loops. Raises `TokenRefused`."""
        if not self._database.is_postgres:  # we are the only process: whoever held a claim is dead
            await self._jobs.release_all()
            await self._updates.release_all()
            await self._statuses.release_all()
        await log_in(self._application, self._clock)
        if not self._polls:
            await self._webhook.set_up()
        for worker in self._workers:
            self._spawn(worker.run(), worker.name)
        self._spawn_endless(self._sweeper.run(Held(self._database, Duty.SWEEPING)), "sweeper")
        if self._profile is not None:
            self._spawn_endless(self._profile.run(), "profile")
        self._spawn_endless(*((self._poller.run(), "poller") if self._polls else (self._webhook.run(), "webhook")))

    async def stop(self) -> None:
        """Stop taking updates, let running steps finish or give their claims back, and log out."""
        self._health.is_stopping = True
        for task in self._endless:
            task.cancel()
        await asyncio.gather(*self._endless, return_exceptions=True)
        await self._duty_of_updates.let_go()
        await asyncio.gather(*(worker.stop(grace_seconds=_STOP_GRACE_SECONDS) for worker in self._workers))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._application.shutdown()
        await self._application.bot.shutdown()  # its connections too, where it never got as far as logging in

    def signs(self) -> dict[str, Callable[[], int]]:
        """The counters that the parts turn for as long as they are not stuck, by the parts' names."""
        polling = {"polling": lambda: self._poller.turns} if self._polls else {}
        return {"tracker": lambda: self._tracker.turns, **polling}

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.add(begun(work, name=name))

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


def _both(*bells: asyncio.Event) -> Callable[[], None]:
    def ring() -> None:
        for bell in bells:
            bell.set()

    return ring
