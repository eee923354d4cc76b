"""The local Bot API server follows https://core.telegram.org/bots/api, and does what it is told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from asking import YES, Ask, Raw, asking, updates
from bot.sandbox import BotApi, Chat, serve


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    server = BotApi(webhook_retry_seconds=0)
    async with server.serving():
        yield server


@pytest.fixture
def http(api: BotApi) -> httpx.AsyncClient:
    return api.http


@pytest.fixture
def ask(api: BotApi) -> Ask:
    return asking(api)


@pytest.fixture
def ada(api: BotApi) -> Chat:
    return api.private_chat(user_id=7, first_name="Ada")


# --- requests ---


@pytest.mark.parametrize(
    "sent",
    [
        {"params": {"chat_id": "7", "text": "hé 1", "reply_markup": json.dumps(YES)}},
        {"data": {"chat_id": "7", "text": "hé 1", "reply_markup": json.dumps(YES)}},
        {"json": {"chat_id": 7, "text": "hé 1", "reply_markup": YES, "nobody_knows": "me"}},
        {"files": {"chat_id": (None, "7"), "text": (None, "hé 1"), "reply_markup": (None, json.dumps(YES))}},
    ],
    ids=["query", "urlencoded", "json", "multipart"],
)
async def test_parameters_come_in_four_ways(api: BotApi, http: httpx.AsyncClient, ada: Chat, sent: Any) -> None:
    """Each way of "Making requests" makes the same message, and unknown parameters are ignored."""
    answer = (await http.post(f"{api.root_url}/bot{api.token}/SENDMESSAGE", **sent)).json()
    [message] = ada.messages
    assert (message.text, message.buttons) == ("hé 1", {"Yes": "yes:1"})
    assert answer == {"ok": True, "result": message.raw}
    assert answer["result"]["from"] == api.me


@pytest.mark.parametrize(
    ("method", "parameters", "says"),
    [
        ("sendNothing", {}, "method not found"),
        ("sendMessage", {"text": "hi", "chat_id": 8}, "chat not found"),
        ("sendMessage", {"text": " "}, "message text is empty"),
        ("sendMessage", {"text": "é" * 4097}, "message is too long"),
        ("sendMessage", {"text": "🎈" * 2049}, "message is too long"),
        ("sendMessage", {"text": "hi", "reply_parameters": {"message_id": 9}}, "message to be replied not found"),
        ("sendMessage", {"text": "hi", "reply_to_message_id": 9}, "message to be replied not found"),
        ("sendMessage", {"text": "hi", "message_thread_id": 3}, "message thread not found"),
        ("sendMessage", {"text": "hi", "reply_markup": "{"}, "can't parse reply markup JSON object"),
        (
            "sendMessage",
            {"text": "hi", "reply_markup": {"inline_keyboard": [[{"text": "x", "callback_data": "é" * 33}]]}},
            "BUTTON_DATA_INVALID",
        ),
        ("sendVideo", {}, "there is no video in the request"),
        ("sendVideo", {"video": "nonsense"}, "wrong remote file identifier"),
        ("sendVideo", {"video": "https://example.com/x.mp4"}, "failed to get HTTP URL content"),
        ("sendVideo", {"video": "nonsense", "caption": "x" * 1025}, "message caption is too long"),
        ("editMessageText", {"message_id": 9, "text": "hi"}, "message to edit not found"),
        ("editMessageText", {"message_id": 1, "text": "hi"}, "message can't be edited"),
        ("editMessageMedia", {"message_id": 9, "media": {"type": "video"}}, "message to edit not found"),
        ("deleteMessage", {"message_id": 9}, "message to delete not found"),
        ("setMessageReaction", {"message_id": 9}, "message to react not found"),
        ("sendChatAction", {}, "wrong parameter action"),
        ("answerCallbackQuery", {"callback_query_id": "1", "text": "x" * 201}, "MESSAGE_TOO_LONG"),
        ("getFile", {"file_id": "nonsense"}, "wrong file_id or the file is temporarily unavailable"),
        ("getChatMember", {"user_id": 9}, "user not found"),
        ("setWebhook", {"url": "http://example.com"}, "HTTPS URL must be provided"),
        ("setWebhook", {"url": "https://example.com", "secret_token": "é"}, "unallowed characters"),
    ],
)
async def test_refusals(ask: Ask, ada: Chat, method: str, parameters: Raw, says: str) -> None:
    """What can't be done is refused in the server's own words, in its envelope, and changes nothing."""
    await ada.send_text("hello")
    answer = await ask(method, **{"chat_id": 7, **parameters})
    assert (answer["ok"], answer["error_code"]) == (False, 404 if method == "sendNothing" else 400)
    assert says in answer["description"]
    assert len(ada.messages) == 1


async def test_wrong_token_and_unreadable_bodies(api: BotApi, http: httpx.AsyncClient) -> None:
    """A wrong token is 401; bodies that can't be read are 400."""
    assert (await http.get(f"{api.root_url}/bot1:wrong/getMe")).json()["error_code"] == 401
    json_type, form_type = {"content-type": "application/json"}, {"content-type": "multipart/form-data"}
    for headers, body in [(json_type, b"{"), (json_type, b"[]"), (form_type, b"--x")]:
        response = await http.post(f"{api.root_url}/bot{api.token}/getMe", headers=headers, content=body)
        assert response.json()["error_code"] == 400


async def test_uploads_are_limited_to_50_mb(api: BotApi, ask: Ask, ada: Chat) -> None:
    """A larger request is read to its end and answered 413."""
    answer = await ask("sendVideo", files={"video": ("v.mp4", bytes(51 << 20 | 1))}, chat_id="7")
    assert answer["error_code"] == 413
    assert await ask("sendVideo", files={"video": ("v.mp4", b"")}, chat_id="7") == {
        "ok": False,
        "error_code": 400,
        "description": "Bad Request: file must be non-empty",
    }
    assert (await ask("sendPhoto", files={"photo": ("v.jpg", bytes(11 << 20))}, chat_id="7"))["error_code"] == 400
    assert not ada.messages


# --- updates by polling ---


async def test_updates_are_confirmed_by_a_later_offset(ask: Ask, ada: Chat) -> None:
    """An update comes again until `offset` is beyond it; a negative offset keeps only so many of the last."""
    for text in "abcd":
        await ada.send_text(text)
    first, second = await updates(ask, limit=2)
    assert await updates(ask, limit=1) == [first]
    assert [update["message"]["text"] for update in await updates(ask, offset=second["update_id"])] == ["b", "c", "d"]
    assert [update["message"]["text"] for update in await updates(ask, offset=-1)] == ["d"]
    assert len(await updates(ask)) == 1
    assert await updates(ask, offset=first["update_id"] + 4) == []
    assert await updates(ask, offset=-1) == []


async def test_a_long_poll_ends_with_the_first_update(api: BotApi, ask: Ask, ada: Chat) -> None:
    poll = asyncio.create_task(updates(ask, timeout=50))
    await api.wait_for_call("getUpdates")
    await ada.send_text("now")
    [update] = await poll
    assert update["message"] == ada.messages[0].raw


async def test_one_poll_at_a_time(api: BotApi, ask: Ask) -> None:
    """The older of two polls, and any poll beside a webhook, gets 409."""
    older = asyncio.create_task(ask("getUpdates", timeout=50))
    await api.wait_for_call("getUpdates")
    newer = asyncio.create_task(ask("getUpdates", timeout=50))
    assert "terminated by other getUpdates request" in (await older)["description"]
    await ask("setWebhook", url=f"{api.root_url}/nowhere")
    assert "terminated by setWebhook request" in (await newer)["description"]
    answer = await ask("getUpdates")
    assert (answer["error_code"], "webhook is active" in answer["description"]) == (409, True)
    await ask("deleteWebhook")
    assert (await ask("getUpdates"))["ok"]


async def test_allowed_updates_stick(ask: Ask, ada: Chat) -> None:
    """The wish holds until it is changed; an empty list means the usual kinds."""
    await updates(ask, allowed_updates=["callback_query"])
    await ada.send_text("unseen")
    assert await updates(ask) == []
    await updates(ask, allowed_updates=[])
    await ada.send_text("seen")
    assert [update["message"]["text"] for update in await updates(ask)] == ["seen"]


# --- updates by webhook ---


async def test_webhook(api: BotApi, ask: Ask, ada: Chat) -> None:
    """Posts carry the secret, are repeated until 2xx, and keep the order within a chat but not between chats."""
    seen: list[tuple[str, str | None]] = []
    answers = [500, 302]
    bob = api.private_chat(user_id=8, first_name="Bob")
    bobs_turn = asyncio.Event()

    async def receive(request: Request) -> Response:
        message = (await request.json())["message"]
        if message["from"]["id"] == 8:
            bobs_turn.set()
        else:
            await bobs_turn.wait()
        seen.append((message["text"], request.headers.get("x-telegram-bot-api-secret-token")))
        return Response(status_code=answers.pop() if answers and message["text"] == "first" else 200)

    async with serve(Starlette(routes=[Route("/hook", receive, methods=["POST"])])) as url:
        await ada.send_text("gone")
        await ask("setWebhook", url=f"{url}/hook", secret_token="s-1", drop_pending_updates=True)
        await ada.send_text("first")
        await ada.send_text("second")
        await bob.send_text("meanwhile")
        await api.wait_until(lambda: not api.updates.pending)
        info = (await ask("getWebhookInfo"))["result"]
        await ask("deleteWebhook")
    assert seen == [("meanwhile", "s-1"), *[("first", "s-1")] * 3, ("second", "s-1")]
    assert (info["url"], info["pending_update_count"]) == (f"{url}/hook", 0)
    assert info["last_error_message"] == "Wrong response from the webhook: 500 Internal Server Error"
    assert (await ask("getWebhookInfo"))["result"]["url"] == ""


async def test_webhook_that_nobody_answers(api: BotApi, ask: Ask, ada: Chat) -> None:
    """Updates wait for it, and getWebhookInfo tells why."""
    async with serve(Starlette()) as url:
        pass
    await ask("setWebhook", url=url, allowed_updates=["message"])
    await ada.send_text("hello?")
    while "last_error_message" not in (info := (await ask("getWebhookInfo"))["result"]):
        pass
    assert (info["pending_update_count"], info["allowed_updates"]) == (1, ["message"])
    assert info["last_error_message"] == "Connection failed: ConnectError"


# --- faults ---


async def test_refusals_on_order(api: BotApi, ask: Ask, ada: Chat) -> None:
    """They strike so many calls that fit, with the parameters wished for; the rest goes through."""
    api.fail("send*", 429, retry_after=3, when=lambda call: call.parameters["chat_id"] == 7)
    api.fail("sendMessage", 403, "Forbidden: bot was blocked by the user", times=2)
    bob = api.private_chat(user_id=8)
    assert (await ask("sendMessage", chat_id=8, text="hi"))["description"] == "Forbidden: bot was blocked by the user"
    assert await ask("sendMessage", chat_id=7, text="hi") == {
        "ok": False,
        "error_code": 429,
        "description": "Too Many Requests: retry after 3",
        "parameters": {"retry_after": 3},
    }
    assert (await ask("sendMessage", chat_id=7, text="hi"))["error_code"] == 403
    assert (await ask("sendMessage", chat_id=7, text="hi"))["ok"]
    assert (len(ada.messages), len(bob.messages)) == (1, 0)
    api.fail("sendMessage", 502, acts=True)
    assert (await ask("sendMessage", chat_id=7, text="twice"))["description"] == "Bad Gateway"
    assert ada.messages[-1].text == "twice"


@pytest.mark.parametrize("before", [True, False])
async def test_connections_closed_on_order(api: BotApi, ask: Ask, ada: Chat, *, before: bool) -> None:
    """No answer comes; whether the method was carried out is as ordered."""
    api.drop("sendMessage", before=before)
    with pytest.raises(httpx.TransportError):
        await ask("sendMessage", chat_id=7, text="hi")
    assert len(ada.messages) == (0 if before else 1)
    assert (await ask("getMe"))["ok"]


async def test_stopping_ends_what_is_under_way(http: httpx.AsyncClient) -> None:
    """A long poll does not hold the server up, and the port is free at once."""
    api = BotApi()
    async with api.serving() as url:
        poll = asyncio.create_task(http.post(f"{url}/bot{api.token}/getUpdates", json={"timeout": 50}))
        await api.wait_for_call("getUpdates")
    with suppress(httpx.TransportError):
        await poll
    async with serve(Starlette(), port=int(url.rpartition(":")[2])) as again:
        assert again == url
