"""Telegram's updates: none is lost, each is handled once, and none holds up the others."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError
from starlette.responses import JSONResponse, PlainTextResponse, Response
from structlog.testing import capture_logs
from telegram import Update
from telegram.error import NetworkError, RetryAfter
from telegram.ext import ApplicationBuilder, MessageHandler, filters
from telegram.request import BaseRequest

from bot.intake import Dispatcher, Intake, Poller, lane_of
from bot.patience import LEASE_MS, SECOND_MS
from bot.sandbox import BotApi
from bot.sandbox.server import HangUp
from bot.sandbox.stand_in import Fault
from clocks import TurnableClock
from scenes import new_chat, refusing, says
from storage.database import Database, open_database
from storage.replicas import Duty, Held
from storage.schema import updates as table
from storage.updates import Updates
from world import World, world

TOKEN = "1234567:hush-hush"
WEEK_SECONDS = 7 * 24 * 3600

Raw = dict[str, Any]


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture
async def book(tmp_path: Path, clock: TurnableClock) -> AsyncIterator[Database]:
    async with open_database(f"sqlite:///{tmp_path / 'bot.sqlite3'}", now=clock.now) as database:
        yield database


async def stored(book: Database) -> dict[int, str | None]:
    """The error, if any, of every update that was stored."""
    async with book.begin() as connection:
        rows = await connection.execute(select(table.c.update_id, table.c.error))
        return {row.update_id: row.error for row in rows}


def said(update_id: int, words: str, *, chat_id: int = 7) -> Raw:
    """A text, as Telegram tells of it."""
    person = {"id": chat_id, "is_bot": False, "first_name": "Ada"}
    chat = {"id": chat_id, "type": "private"}
    return {
        "update_id": update_id,
        "message": {"message_id": update_id, "date": 1, "chat": chat, "from": person, "text": words},
    }


# --- storing ---


@pytest.mark.parametrize(
    ("raw", "lane"),
    [
        (said(1, "hello", chat_id=-100), -100),
        ({"update_id": 1, "callback_query": {"from": {"id": 7}, "message": {"chat": {"id": -100}}}}, -100),
        ({"update_id": 1, "callback_query": {"from": {"id": 7}, "inline_message_id": "x"}}, 7),
        ({"update_id": 1, "my_chat_member": {"chat": {"id": 5}, "from": {"id": 7}}}, 5),
        ({"update_id": 1, "poll": {"id": "5"}}, 0),
        ({"update_id": 1, "message": {"chat": {"id": 1 << 70}, "from": "me"}}, 0),
        ({"update_id": 1, "message": {"chat": [7]}}, 0),
        ({"update_id": 1, "message": None}, 0),
    ],
)
def test_the_lane_of_an_update_is_its_chat_else_its_sender(raw: Raw, lane: int) -> None:
    assert lane_of(raw) == lane


async def test_what_has_no_usable_id_is_passed_over_and_the_rest_is_stored(book: Database) -> None:
    batch = [None, 7, "x", {}, {"update_id": "9"}, {"update_id": 1 << 63}, said(4, "a"), said(2**53, "b"), said(3, "c")]

    assert await Intake(Updates(book), lambda: None).store(batch) == 2**53
    assert await stored(book) == {3: None, 4: None, 2**53: None}


async def test_a_batch_without_updates_has_no_highest_id(book: Database) -> None:
    assert await Intake(Updates(book), lambda: None).store([{}]) is None


# --- polling ---


def duty(book: Database) -> Held:
    return Held(book, Duty.UPDATES)


@asynccontextmanager
async def polling(telegram: BotApi, book: Database, clock: TurnableClock) -> AsyncIterator[None]:
    """Poll a local Telegram until the end of the block."""
    async with telegram.serving() as url, httpx.AsyncClient() as http:
        intake = Intake(Updates(book), lambda: None)
        poller = Poller(http, token=telegram.token, api_url=url, intake=intake, duty=duty(book), clock=clock)
        task = asyncio.create_task(poller.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def polls(telegram: BotApi, count: int) -> list[Raw]:
    """The parameters of the first polls, once there are so many."""
    await telegram.wait_until(lambda: len(telegram.calls) >= count)
    return [call.parameters for call in telegram.calls]


async def turning(clock: TurnableClock, event: Awaitable[Any]) -> None:
    """Let time pass until something has come."""
    waiting = asyncio.ensure_future(event)
    while not waiting.done():
        clock.turn(seconds=1)
        await asyncio.wait({waiting}, timeout=0.01)
    await waiting


async def test_the_offset_moves_only_after_the_commit(book: Database, clock: TurnableClock) -> None:
    """While nothing can be stored the same updates come again, and none is lost or acknowledged."""
    telegram = BotApi()
    ada = telegram.private_chat()
    for words in ("one", "two"):
        await ada.send_text(words)
    sent = list(telegram.updates.pending)
    async with book.begin() as connection:
        await connection.execute(text("ALTER TABLE updates RENAME TO elsewhere"))
    async with polling(telegram, book, clock):
        await turning(clock, polls(telegram, 3))
        assert list(telegram.updates.pending) == sent

        async with book.begin() as connection:
            await connection.execute(text("ALTER TABLE elsewhere RENAME TO updates"))
        before = len(telegram.calls)
        await turning(clock, telegram.wait_until(lambda: not telegram.updates.pending))
        questions = await polls(telegram, before + 1)

    assert all("offset" not in question for question in questions[:before])
    assert questions[-1]["offset"] == sent[-1] + 1
    assert list(await stored(book)) == sent


async def test_an_answer_that_was_lost_comes_again_and_is_stored_once(book: Database, clock: TurnableClock) -> None:
    telegram = BotApi()
    await telegram.private_chat().send_text("hello")
    sent = list(telegram.updates.pending)
    telegram.drop("getUpdates", before=False)
    async with polling(telegram, book, clock):
        await turning(clock, telegram.wait_until(lambda: not telegram.updates.pending))

    assert list(await stored(book)) == sent


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (JSONResponse({"ok": False, "error_code": 409, "description": "Conflict"}, 409), "another process polls"),
        (JSONResponse({"ok": False, "error_code": 401, "description": "Unauthorized"}, 401), "the token is wrong"),
        (PlainTextResponse("<html>Bad Gateway", 502), "HTTP 502"),
        (PlainTextResponse("<html>All is well"), ""),
        (JSONResponse({"ok": True}), ""),
        (JSONResponse({"ok": True, "result": None}), ""),
        (PlainTextResponse("[" * 100_000), ""),
        (HangUp(), ""),
    ],
    ids=["409", "401", "502", "not JSON", "no result", "null", "deep", "hung up"],
)
async def test_whatever_getupdates_answers_polling_goes_on_and_the_token_stays_out_of_the_log(
    response: Response, why: str, book: Database, clock: TurnableClock
) -> None:
    telegram = BotApi(TOKEN)
    telegram.faults.append(Fault("getUpdates", response, times=2))
    await telegram.private_chat().send_text("hello")
    sent = list(telegram.updates.pending)
    with capture_logs() as logged:
        async with polling(telegram, book, clock):
            await turning(clock, telegram.wait_until(lambda: not telegram.updates.pending))

    assert list(await stored(book)) == sent
    assert len(logged) == 2
    assert why in (logged[0]["why"] or "")
    assert "hush" not in str(logged)


async def test_nobody_there_is_no_reason_to_stop_polling(book: Database, clock: TurnableClock) -> None:
    attempts = 0

    def refuse(request: httpx.Request) -> httpx.Response:
        nonlocal attempts
        attempts += 1
        raise httpx.ConnectError(f"nobody at {request.url}")

    async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as http:
        intake = Intake(Updates(book), lambda: None)
        poller = Poller(http, token=TOKEN, api_url="http://telegram.test", intake=intake, duty=duty(book), clock=clock)
        task = asyncio.create_task(poller.run())
        with capture_logs() as logged:
            while attempts < 3:
                clock.turn(seconds=30)
                await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert "hush" not in str(logged)


async def test_after_a_week_of_silence_the_offset_is_forgotten(book: Database, clock: TurnableClock) -> None:
    """Telegram then begins with a random id, perhaps a lower one, which an old offset would acknowledge unseen."""
    offsets: list[int | None] = []
    finished = asyncio.Event()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/deleteWebhook"):
            return httpx.Response(200, json={"ok": True, "result": True})
        offsets.append(json.loads(request.content).get("offset"))
        if len(offsets) == 1:
            return httpx.Response(200, json={"ok": True, "result": [said(5, "hello")]})
        if len(offsets) == 3:
            finished.set()
            await asyncio.Event().wait()
        clock.turn(seconds=WEEK_SECONDS)
        return httpx.Response(200, json={"ok": True, "result": []})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        intake = Intake(Updates(book), lambda: None)
        poller = Poller(http, token=TOKEN, api_url="http://telegram.test", intake=intake, duty=duty(book), clock=clock)
        task = asyncio.create_task(poller.run())
        await finished.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert offsets == [None, 6, None]


# --- handling ---


class NoNetwork(BaseRequest):
    """Stands for Telegram: it only says who the bot is."""

    read_timeout = None

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def do_request(self, url: str, method: str, *_: Any, **__: Any) -> tuple[int, bytes]:
        me = {"id": 1234567, "is_bot": True, "first_name": "Bot", "username": "a_bot"}
        return 200, json.dumps({"ok": True, "result": me}).encode()


class Desk:
    """Updates on their way through the dispatcher to a handler, which notes them, and fails as often as it is told."""

    def __init__(self, dispatcher: Dispatcher, updates: Updates) -> None:
        self.handled: list[str] = []
        self.failures: dict[str, int] = {}
        self.failure: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._dispatcher = dispatcher
        self._updates = updates
        self._intake = Intake(updates, lambda: None)

    async def take(self, *raw: Raw) -> None:
        await self._intake.store(raw)

    async def handle(self, update: Update, _context: object) -> None:
        words = update.effective_message.text if update.effective_message else None
        assert words
        self.handled.append(words)
        if self.failures.get(words, 0) > 0:
            self.failures[words] -= 1
            raise self.failure or OSError(words)
        await self.go_on.wait()

    async def work(self) -> None:
        """Do whatever is due now, and what becomes due by that."""
        while claimed := await self._updates.claim(10, lease_ms=60_000):
            await asyncio.gather(*(self._dispatcher.do(update) for update in claimed))


@pytest.fixture
async def desk(book: Database, clock: TurnableClock) -> AsyncIterator[Desk]:
    builder = ApplicationBuilder().token(TOKEN).request(NoNetwork()).get_updates_request(NoNetwork())
    application = builder.updater(None).job_queue(None).build()
    updates = Updates(book)
    desk = Desk(Dispatcher(application, updates, clock), updates)
    application.add_handler(MessageHandler(filters.ALL, desk.handle))
    async with application:
        yield desk


async def test_an_update_that_is_delivered_again_is_handled_once(desk: Desk) -> None:
    """Whether it comes again before it is handled, or after."""
    await desk.take(said(1, "one"), said(1, "one"))
    await desk.take(said(1, "one"))
    await desk.work()
    await desk.take(said(1, "one"), said(2, "two"))
    await desk.work()

    assert desk.handled == ["one", "two"]


async def test_updates_of_a_chat_are_handled_in_order_even_if_the_first_fails(desk: Desk, clock: TurnableClock) -> None:
    desk.failures["one"] = 2
    await desk.take(said(2, "two"), said(1, "one"), said(3, "three"), said(4, "elsewhere", chat_id=8))
    await desk.work()
    assert sorted(desk.handled) == ["elsewhere", "one"], "only its own chat waits for it"

    for _ in range(3):
        clock.turn(seconds=60)
        await desk.work()
    assert [words for words in desk.handled if words != "elsewhere"] == ["one", "one", "one", "two", "three"]


async def at_work_on_a_slow_update(desk: Desk) -> asyncio.Task[None]:
    """Begin to handle the only update, which goes on once it is let."""
    desk.go_on.clear()
    await desk.take(said(1, "slow"))
    working = asyncio.create_task(desk.work())
    async with asyncio.timeout(10):
        while not desk.handled:
            await asyncio.sleep(0)
    return working


async def until_kept(book: Database, clock: TurnableClock) -> None:
    """Wait until the only update's lease is far from over."""
    async with asyncio.timeout(10):
        while (await Updates(book).next_due() or 0) < clock.now() + LEASE_MS / 2:
            await asyncio.sleep(0)


async def test_an_update_that_takes_longer_than_a_lease_is_not_handled_beside_itself(
    desk: Desk, book: Database, clock: TurnableClock
) -> None:
    working = await at_work_on_a_slow_update(desk)
    for _ in range(12):
        clock.turn(seconds=LEASE_MS / SECOND_MS / 3)
        await until_kept(book, clock)
        await desk.work()
    assert desk.handled == ["slow"]

    desk.go_on.set()
    await working
    assert await stored(book) == {1: None}


async def test_whoever_was_frozen_and_overtaken_does_not_go_on_with_an_update(
    desk: Desk, book: Database, clock: TurnableClock
) -> None:
    late = await at_work_on_a_slow_update(desk)
    async with book.begin() as connection:
        await connection.execute(update(table).values(claim="another's"))
    clock.turn(seconds=LEASE_MS / SECOND_MS / 3)
    async with asyncio.timeout(10):
        await late
    assert desk.handled == ["slow"]
    assert await Updates(book).next_due() is not None, "the other one has it"


async def test_a_handler_that_always_fails_is_tried_a_few_times_and_then_set_aside(
    desk: Desk, book: Database, clock: TurnableClock
) -> None:
    desk.failures["bad"] = 1000
    await desk.take(said(1, "bad"), said(2, "good"))
    for _ in range(10):
        await desk.work()
        clock.turn(seconds=600)

    assert desk.handled == ["bad"] * 5 + ["good"]
    assert await stored(book) == {1: "OSError", 2: None}


@pytest.mark.parametrize(
    "outage", [NetworkError("down"), RetryAfter(5), ConnectionRefusedError(), OperationalError("", None, OSError())]
)
async def test_an_update_waits_out_an_outage_that_is_no_fault_of_its_own(
    outage: Exception, desk: Desk, book: Database, clock: TurnableClock
) -> None:
    """Ten minutes without Telegram or the database set nothing aside."""
    desk.failures["hello"] = 12
    desk.failure = outage
    await desk.take(said(1, "hello"))
    for _ in range(20):
        await desk.work()
        clock.turn(seconds=66)

    assert desk.handled == ["hello"] * 13
    assert await stored(book) == {1: None}


@pytest.mark.parametrize(
    "content",
    [
        {"message": 5},
        {"message": {"message_id": 1, "date": "yesterday", "chat": {"id": 7, "type": "private"}}},
        {"message": {"message_id": 1, "date": 1, "chat": {"id": 7, "type": "private"}, "photo": "?"}},
        {"message": {"message_id": 1, "date": 10**30, "chat": {"id": 7, "type": "private"}}},
        {"callback_query": {"id": "1", "from": {"id": 7}}},
    ],
    ids=["a number", "a date in words", "a photo in words", "the far future", "half a query"],
)
async def test_an_unparsable_update_is_set_aside_while_others_go_on(content: Raw, desk: Desk, book: Database) -> None:
    await desk.take(said(1, "before"), {"update_id": 2, **content}, said(3, "after"))
    await desk.work()

    assert desk.handled == ["before", "after"]
    errors = await stored(book)
    assert (errors[1], errors[3]) == (None, None)
    assert (errors[2] or "").startswith("unparsable")


async def test_an_update_of_a_kind_that_nobody_handles_is_done_with(desk: Desk, book: Database) -> None:
    await desk.take({"update_id": 1, "a_kind_yet_to_come": {"id": 7}})
    await desk.work()

    assert await stored(book) == {1: None}


# --- by webhook ---


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """A world in which updates come by webhook."""
    async with world(tmp_path_factory.mktemp("world"), telegram_updates="webhook") as here:
        yield here


Post = Callable[..., Awaitable[httpx.Response]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def post(here: World) -> AsyncIterator[Post]:
    """Post to the webhook with Telegram's secret, unless another is given."""
    webhook = here.telegram.updates.webhook
    assert webhook is not None

    async def send(*, secret: bytes | None = webhook.secret_token.encode(), **body: Any) -> httpx.Response:
        headers = [] if secret is None else [(b"X-Telegram-Bot-Api-Secret-Token", secret)]
        return await http.post(webhook.url, headers=headers, **body)

    async with httpx.AsyncClient() as http:
        yield send


in_module_loop = pytest.mark.asyncio(loop_scope="module")


@in_module_loop
@pytest.mark.parametrize("secret", [None, b"", b"wrong", "Ü".encode()])
async def test_a_post_without_the_secret_is_refused_and_stored_nowhere(
    secret: bytes | None, here: World, post: Post
) -> None:
    """Else the true update with the same id would be taken for a repeated one."""
    chat = new_chat(here)
    response = await post(secret=secret, json={"update_id": chat.id})
    assert response.status_code == 403

    await post(json=said(chat.id, "hello", chat_id=chat.id))
    await says(chat, "I need a photo")


@in_module_loop
async def test_an_update_is_taken_with_200_only_after_the_commit(here: World, post: Post) -> None:
    chat = new_chat(here)
    update = said(chat.id, "hello", chat_id=chat.id)
    async with refusing(here, "INSERT ON updates"):
        response = await post(json=update)
        assert response.status_code == 503
    assert (await post(json=update)).status_code == 200
    assert (await post(json=update)).status_code == 200
    await says(chat, "I need a photo")


@in_module_loop
async def test_what_people_write_stays_out_of_the_log_even_if_it_cant_be_stored(
    here: World, post: Post, capsys: pytest.CaptureFixture[str]
) -> None:
    chat = new_chat(here)
    async with refusing(here, "INSERT ON updates"):
        await post(json=said(chat.id, "between you and me", chat_id=chat.id))

    written = capsys.readouterr().out
    assert "the disk is full" in written
    assert "between you and me" not in written


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 16):
        yield data[start : start + (1 << 16)]


@in_module_loop
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"update_id": ' + b"9" * 10_000 + b"}", 400),
        (b"x" * ((1 << 20) + 1), 413),
        (b"[1]", 200),
        (b'{"update_id": "1"}', 200),
    ],
    ids=["nothing", "broken", "not UTF-8", "deep", "a huge number", "too large", "no update", "no id"],
)
async def test_a_body_that_is_no_update_is_answered_and_harmless(body: bytes, status: int, post: Post) -> None:
    assert (await post(content=body)).status_code == status
    assert (await post(content=in_pieces(body))).status_code == status, "the same without a Content-Length"


async def test_of_replicas_that_poll_one_does_and_another_takes_over(own_postgres_url: str) -> None:
    """Telegram answers 409 to all but one; so the others wait until the one is gone."""
    clock, telegram = TurnableClock(), BotApi()
    async with (
        telegram.serving() as url,
        httpx.AsyncClient() as http,
        open_database(own_postgres_url, now=clock.now) as one,
        open_database(own_postgres_url, now=clock.now) as other,
    ):
        tasks, duties = [], [Held(database, Duty.UPDATES) for database in (one, other)]
        for database, duty_of_one in zip((one, other), duties, strict=True):
            intake = Intake(Updates(database), lambda: None)
            poller = Poller(http, token=telegram.token, api_url=url, intake=intake, duty=duty_of_one, clock=clock)
            tasks.append(asyncio.create_task(poller.run()))
            await telegram.wait_for_call("getUpdates")
        while not clock._waiting:  # the other stands by
            await asyncio.sleep(0)
        before = len([call for call in telegram.calls if call.name == "getUpdates"])
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        await duties[0].let_go()

        def polls() -> bool:
            clock.turn(seconds=1)
            return len([call for call in telegram.calls if call.name == "getUpdates"]) > before

        async with asyncio.timeout(20):
            while not polls():
                await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
        await duties[1].let_go()
    assert before == 1
