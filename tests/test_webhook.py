"""Telegram's webhook: set once, by whichever replica comes first, and set again where somebody has taken it away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from bot.limiter import Limiter
from bot.metrics import REGISTRY
from bot.sandbox import BotApi
from bot.telegram import build_application
from bot.webhook import Webhook, WebhookKeeper
from clocks import TurnableClock
from storage.database import Database, open_database
from storage.notices import Notices
from storage.rates import OwnRates
from storage.replicas import Duty, Held

WEBHOOK = Webhook("https://bot.example/telegram", "a-secret-that-Telegram-sends-along")


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture
async def telegram() -> AsyncIterator[BotApi]:
    telegram = BotApi()
    async with telegram.serving():
        yield telegram


@asynccontextmanager
async def keeper_of(
    telegram: BotApi, database: Database, clock: TurnableClock, webhook: Webhook = WEBHOOK
) -> AsyncIterator[WebhookKeeper]:
    application = build_application(telegram.token, telegram.root_url, Limiter(clock, OwnRates(clock.now)))
    async with application:
        yield WebhookKeeper(application.bot, Notices(database), Held(database, Duty.UPDATES), clock, webhook)


@pytest.fixture
async def book(database_url: str, clock: TurnableClock) -> AsyncIterator[Database]:
    async with open_database(database_url, now=clock.now) as database:
        yield database


def shown_trouble() -> float | None:
    return REGISTRY.get_sample_value("talkbot_webhook_trouble")


def times_set(telegram: BotApi) -> int:
    return sum(1 for call in telegram.calls if call.name == "setWebhook")


async def test_only_what_has_changed_is_set(book: Database, telegram: BotApi, clock: TurnableClock) -> None:
    """A restart sets nothing. Telegram shows the URL that it knows, but never the secret, so we remember that."""
    changes = [WEBHOOK, WEBHOOK, replace(WEBHOOK, secret="another"), replace(WEBHOOK, url="https://else.example")]
    times = []
    for webhook in changes:
        async with keeper_of(telegram, book, clock, webhook) as keeper:
            await keeper.set_up()
        times.append(times_set(telegram))
    assert times == [1, 1, 2, 3]


async def test_a_server_that_tells_nothing_gets_it_at_each_start(
    book: Database, telegram: BotApi, clock: TurnableClock
) -> None:
    telegram.fail("getWebhookInfo", 404, "Not Found: method not found", times=9)
    async with keeper_of(telegram, book, clock) as keeper:
        await keeper.set_up()
        await keeper.set_up()
    assert times_set(telegram) == 2


async def test_what_was_taken_away_is_set_again(book: Database, telegram: BotApi, clock: TurnableClock) -> None:
    """A second bot that was started by mistake with the same token, and polled, would else leave us deaf."""
    async with keeper_of(telegram, book, clock) as keeper:
        await keeper.set_up()
        await telegram.updates.set_webhook(None, drop_pending=False)
        looking = asyncio.create_task(keeper.run())
        while times_set(telegram) < 2:
            clock.turn(seconds=60)
            await asyncio.sleep(0)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert telegram.updates.webhook is not None


async def test_a_telegram_that_does_not_take_it_holds_the_start_up_for_a_while_only(
    book: Database, telegram: BotApi, clock: TurnableClock
) -> None:
    """One that was set earlier may still be good; meanwhile it is tried again and again."""
    telegram.fail("setWebhook", 500, times=9)

    async def in_passing_time(*, until: Callable[[], bool]) -> None:
        while not until():
            if clock._waiting:  # no time passes while Telegram or the database is asked
                clock.turn(seconds=1)
            await asyncio.sleep(0)

    async with keeper_of(telegram, book, clock) as keeper:
        starting = asyncio.create_task(keeper.set_up())
        await in_passing_time(until=starting.done)
        assert telegram.updates.webhook is None
        assert shown_trouble() == 1
        looking = asyncio.create_task(keeper.run())
        began_at = clock.now()
        await in_passing_time(until=lambda: telegram.updates.webhook is not None and shown_trouble() == 0)
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    assert clock.now() - began_at < 5 * 60_000


async def test_what_telegram_says_of_failed_deliveries_is_logged_and_measured(
    book: Database, telegram: BotApi, clock: TurnableClock
) -> None:
    async with keeper_of(telegram, book, clock) as keeper:
        await keeper.set_up()
        telegram.updates.last_error = (clock.now() // 1000 - 60, "Connection timed out")
        with capture_logs() as logged:
            await keeper.set_up()
        assert any(line.get("why") == "Connection timed out" for line in logged)
        assert shown_trouble() == 1
        clock.turn(seconds=300)
        await keeper.set_up()
        assert shown_trouble() == 0


async def test_replicas_that_start_together_set_it_once(
    own_postgres_url: str, telegram: BotApi, clock: TurnableClock
) -> None:
    async with AsyncExitStack() as stack:
        keepers = []
        for _ in range(3):
            database = await stack.enter_async_context(open_database(own_postgres_url, now=clock.now))
            keepers.append(await stack.enter_async_context(keeper_of(telegram, database, clock)))
        starting = asyncio.gather(*(keeper.set_up() for keeper in keepers))
        while not starting.done():
            clock.turn(seconds=1)
            await asyncio.sleep(0)
        await starting
    assert times_set(telegram) == 1
