"""What the service consists of, and how its parts hang together: the books, the conversation, the story, the loops."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

import akool
from bot.admins import Admins
from bot.asking import Asking
from bot.buttons import Buttons
from bot.callers import Callers
from bot.clock import Clock
from bot.commands import Commands
from bot.config import Settings
from bot.delivery import Delivery
from bot.farewell import Farewell
from bot.groups import Groups
from bot.halves import Halves
from bot.handlers import Handlers
from bot.intake import Dispatcher
from bot.media import Studio
from bot.operator import OperatorsVoice
from bot.outlooks import Outlooks
from bot.patience import LEASE_MS
from bot.pipeline import Pipeline
from bot.resources import Keys
from bot.results import Results
from bot.setbacks import Setbacks
from bot.status import StatusKeeper
from bot.telegram import Files, TelegramApplication
from bot.tracker import Tracker
from bot.worker import Queue, Worker
from storage.alarms import Alarms
from storage.breaker import Breaker
from storage.database import Database
from storage.drafts import Drafts
from storage.forgetting import Forgetting
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.notices import Notices
from storage.objects import MediaSigner, ObjectStore
from storage.peers import Peers
from storage.quotas import Quotas
from storage.repeats import Repeats
from storage.reports import Reports
from storage.statuses import Statuses
from storage.updates import Updates

_AT_ONCE = 32  # pieces of work per loop


@dataclass(frozen=True)
class Opened:
    """What is opened before the service runs, and closed after it."""

    settings: Settings
    clock: Clock
    keys: Keys
    scratch: Path
    signer: MediaSigner
    database: Database
    store: ObjectStore
    application: TelegramApplication
    akool_client: akool.Client
    http: httpx.AsyncClient
    studio: Studio


class Books:
    """The database, side by side: one of each."""

    def __init__(self, database: Database) -> None:
        self.jobs = Jobs(database)
        self.drafts = Drafts(database)
        self.repeats = Repeats(database)
        self.ledger = Ledger(database)
        self.updates = Updates(database)
        self.statuses = Statuses(database)
        self.breaker = Breaker(database)
        self.alarms = Alarms(database)
        self.notices = Notices(database)
        self.peers = Peers(database)


@dataclass(frozen=True)
class Bells:
    """What tells the loops that there is something to do."""

    updates: asyncio.Event = field(default_factory=asyncio.Event)
    jobs: asyncio.Event = field(default_factory=asyncio.Event)
    statuses: asyncio.Event = field(default_factory=asyncio.Event)

    def ring(self) -> None:
        """A job has changed, and what is said of it."""
        self.jobs.set()
        self.statuses.set()


def conversation(opened: Opened, books: Books, bells: Bells, outlooks: Outlooks) -> Handlers:
    """Everything that answers to people."""
    bot, settings, clock, database = opened.application.bot, opened.settings, opened.clock, opened.database
    jobs, ledger, repeats, peers, ring = books.jobs, books.ledger, books.repeats, books.peers, bells.ring
    groups = Groups(bot, jobs, ring)
    commands = Commands(bot, settings, clock, peers, jobs, ledger, Quotas(database), outlooks, ring)
    return Handlers(
        bot=bot,
        callers=Callers(settings, peers),
        notices=books.notices,
        groups=groups,
        asking=Asking(bot, books.drafts, repeats, ring),
        commands=commands,
        admins=Admins(
            bot=bot,
            settings=settings,
            clock=clock,
            client=opened.akool_client,
            peers=peers,
            jobs=jobs,
            repeats=repeats,
            ledger=ledger,
            breaker=books.breaker,
            reports=Reports(database),
            ring=ring,
        ),
        buttons=Buttons(
            bot=bot,
            jobs=jobs,
            drafts=books.drafts,
            repeats=repeats,
            ledger=ledger,
            peers=peers,
            groups=groups,
            commands=commands,
            farewell=Farewell(bot, Forgetting(database), opened.store),
            ring=ring,
        ),
    )


def story(opened: Opened, books: Books, bells: Bells, delivery: Delivery) -> Pipeline:
    """Everything that a job goes through."""
    settings, clock, store, studio = opened.settings, opened.clock, opened.store, opened.studio
    files = Files(
        opened.application.bot,
        opened.http,
        most_bytes=settings.sizes.down,
        on_our_disk=settings.telegram_local_files,
    )
    return Pipeline(
        settings=settings,
        clock=clock,
        jobs=books.jobs,
        drafts=books.drafts,
        ledger=books.ledger,
        store=store,
        client=opened.akool_client,
        halves=Halves(files, studio, store, opened.scratch, max_voice_seconds=settings.max_voice_seconds),
        results=Results(opened.http, trust_private=settings.akool_is_local),
        studio=studio,
        delivery=delivery,
        setbacks=Setbacks(clock, books.jobs, books.ledger, books.breaker, books.alarms),
        scratch=opened.scratch,
        ring=bells.jobs.set,
    )


def workers(opened: Opened, books: Books, bells: Bells, outlooks: Outlooks) -> dict[str, Worker[Any]]:
    """The loops that do what is due, by their names."""
    settings, clock, bot = opened.settings, opened.clock, opened.application.bot
    delivery = Delivery(bot, opened.studio, opened.store, clock, opened.scratch, most_bytes=settings.sizes.up)
    tracker = Tracker(
        story(opened, books, bells, delivery),
        books.jobs,
        books.ledger,
        clock,
        at_akool=settings.akool_max_concurrent,
        spend_limit=settings.spend_limit_day,
        changed=bells.statuses.set,
    )
    keeper = StatusKeeper(
        settings,
        clock,
        statuses=books.statuses,
        jobs=books.jobs,
        outlooks=outlooks,
        notices=books.notices,
        peers=books.peers,
        delivery=delivery,
    )
    dispatcher = Dispatcher(opened.application, books.updates, clock)
    voice = OperatorsVoice(books.alarms, books.peers, bot, clock, settings.admins)
    idle_seconds = 1.0 if opened.database.is_postgres else 15.0  # nobody else writes to our SQLite

    def worker(name: str, queue: Queue[Any], do: Callable[[Any], Awaitable[None]], bell: asyncio.Event) -> Worker[Any]:
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

    return {
        "updates": worker("updates", books.updates, dispatcher.do, bells.updates),
        "tracker": worker("tracker", tracker, tracker.do, bells.jobs),
        "statuses": worker("statuses", books.statuses, keeper.do, bells.statuses),
        "alarms": worker("alarms", books.alarms, voice.do, asyncio.Event()),
    }
