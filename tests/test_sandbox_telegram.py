"""The local Bot API server follows https://core.telegram.org/bots/api, and does what it is told to."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.sandbox import BotApi, Chat, serve
from bot.sandbox.files import Files

Raw = dict[str, Any]
Ask = Callable[..., Coroutine[Any, Any, Raw]]
YES = {"inline_keyboard": [[{"text": "Yes", "callback_data": "yes:1"}]]}


@pytest.fixture
async def api() -> AsyncIterator[BotApi]:
    server = BotApi(webhook_retry_seconds=0)
    async with server.serving():
        yield server


@pytest.fixture
def http(api: BotApi) -> httpx.AsyncClient:
    return api.http


@pytest.fixture
def ask(api: BotApi, http: httpx.AsyncClient) -> Ask:
    """Call a method as a bot would, and return the whole answer."""

    async def ask(method: str, files: Any = None, **parameters: Any) -> Raw:
        url = f"{api.root_url}/bot{api.token}/{method}"
        if files is None:
            response = await http.post(url, json=parameters)
        else:
            fields = {
                name: json.dumps(value) if isinstance(value, dict) else value for name, value in parameters.items()
            }
            response = await http.post(url, data=fields, files=files)
        answer: Raw = response.json()
        assert response.status_code == answer.get("error_code", 200)
        return answer

    return ask


@pytest.fixture
def ada(api: BotApi) -> Chat:
    return api.private_chat(user_id=7, first_name="Ada")


def jpeg(width: int = 640, height: int = 480) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(sink, "JPEG")
    return sink.getvalue()


async def updates(ask: Ask, **parameters: Any) -> list[Raw]:
    found: list[Raw] = (await ask("getUpdates", **parameters))["result"]
    return found


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


# --- people ---


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("voice", {"duration": 9, "mime_type": "audio/ogg"}),
        ("audio", {"duration": 9, "mime_type": "audio/mpeg", "file_name": "song.mp3"}),
        ("document", {"file_name": "file"}),
        ("video", {"duration": 9, "mime_type": "video/mp4", "width": 320}),
        ("video_note", {"duration": 9, "length": 240}),
        ("sticker", {"is_animated": False, "width": 512}),
    ],
)
async def test_people_send_files(ask: Ask, ada: Chat, tmp_path: Path, kind: str, shown: Raw) -> None:
    """Each kind comes as its own object, with the sender's claims."""
    source = tmp_path / "source"
    source.write_bytes(b"sound or picture")
    claims = {"duration": 9} if "duration" in shown else {}
    message = await getattr(ada, f"send_{kind}")(source, **claims, file_size=99, caption="for you", media_group_id="1")
    [update] = await updates(ask)
    seen = update["message"]
    assert seen == message.raw
    assert (seen["caption"], seen["media_group_id"]) == ("for you", "1")
    assert shown.items() <= seen[kind].items()
    assert seen[kind]["file_size"] == 99
    file = (await ask("getFile", file_id=seen[kind]["file_id"]))["result"]
    assert file["file_unique_id"] == seen[kind]["file_unique_id"]


async def test_photos_come_in_sizes(api: BotApi, http: httpx.AsyncClient, ask: Ask, ada: Chat) -> None:
    """Smallest first; the last one has the bytes that were sent."""
    await ada.send_photo(jpeg())
    [update] = await updates(ask)
    small, whole = update["message"]["photo"]
    assert [(size["width"], size["height"]) for size in (small, whole)] == [(90, 68), (640, 480)]
    path = (await ask("getFile", file_id=whole["file_id"]))["result"]["file_path"]
    response = await http.get(f"{api.root_url}/file/bot{api.token}/{path}")
    assert (response.content, response.headers["content-type"]) == (jpeg(), "application/octet-stream")
    assert (await http.get(f"{api.root_url}/file/bot1:wrong/{path}")).status_code == 404
    assert (await http.get(f"{api.root_url}/file/bot{api.token}/files/none")).status_code == 404
    assert [len((await ada.send_photo(b"no picture")).raw["photo"])] == [1]


async def test_files_over_20_mb_cannot_be_fetched(ask: Ask, ada: Chat) -> None:
    message = await ada.send_document(b"x", "big.wav", "audio/x-wav", file_size=25 << 20)
    assert (await ask("getFile", file_id=message.raw["document"]["file_id"]))["description"] == (
        "Bad Request: file is too big"
    )


def test_old_files_make_room() -> None:
    files = Files(most_kept_bytes=10)
    kept = [files.add(bytes(size), "x", mime_type=None) for size in (6, 4, 5)]
    assert [len(file.data) for file in kept] == [0, 4, 5]


async def test_commands_are_entities(ask: Ask, ada: Chat) -> None:
    """Offsets count UTF-16 code units; paths and addresses are no commands."""
    message = await ada.send_text("🎈 /talk@talking_photo_bot to @somebody a/b x@y.org")
    assert message.raw["entities"] == [
        {"type": "bot_command", "offset": 3, "length": 23},
        {"type": "mention", "offset": 30, "length": 9},
    ]


async def test_buttons(api: BotApi, ask: Ask, ada: Chat) -> None:
    """A press comes as a callback query, which is answered once; a message that is gone comes as inaccessible."""
    await ask("sendMessage", chat_id=7, text="Sure?", reply_markup=YES)
    question = await ada.wait_for(lambda message: message.buttons)
    query_id = await ada.press(question, "Yes")
    await ask("deleteMessage", chat_id=7, message_id=question.id)
    await ada.press(question, "yes:1", by=api.user(9, first_name="Eve"))
    first, second = (update["callback_query"] for update in await updates(ask))
    assert (first["data"], first["from"]["id"], first["message"]["text"]) == ("yes:1", 7, "Sure?")
    assert second["from"]["first_name"] == "Eve"
    assert second["message"] == {"chat": ada.raw, "message_id": question.id, "date": 0}
    assert (await ask("answerCallbackQuery", callback_query_id=query_id))["ok"]
    assert "query is too old" in (await ask("answerCallbackQuery", callback_query_id=query_id))["description"]
    with pytest.raises(ValueError, match="no button"):
        await ada.press(question, "No")


async def test_waiting_tells_what_it_saw_instead(api: BotApi, ada: Chat) -> None:
    await ada.send_text("hello")
    await ada.send_sticker(b"")
    with pytest.raises(TimeoutError, match="1 Ada: hello\n2 Ada: sticker"):
        await ada.wait_for(lambda message: message.video, timeout_seconds=0)
    with pytest.raises(TimeoutError):
        await api.wait_for_call("sendVideo", timeout_seconds=0)


# --- groups ---


async def test_privacy_mode(api: BotApi, ask: Ask) -> None:
    """In a group come commands, unless they are another bot's, and replies to the bot's own messages."""
    group, ada = api.group(), api.user(7)
    sent = (await ask("sendMessage", chat_id=group.id, text="Which photo?"))["result"]
    [question] = group.messages
    words = ["hello", "/talk", "/talk@talking_photo_bot", "/talk@another_bot", "@talking_photo_bot hi"]
    for text in words:
        await group.send_text(text, by=ada)
    await group.send_photo(b"", by=ada, reply_to=question)
    await group.send_photo(b"", by=ada, caption="/talk@talking_photo_bot")
    seen = [update["message"] for update in await updates(ask)]
    assert [message.get("text") for message in seen] == ["/talk", "/talk@talking_photo_bot", None, None]
    assert seen[2]["reply_to_message"] == sent
    assert "message can't be deleted" in (await ask("deleteMessage", chat_id=group.id, message_id=2))["description"]
    assert (await ask("getChatMember", chat_id=group.id, user_id=7))["result"]["user"]["id"] == 7
    assert (await ask("getChat", chat_id=group.id))["result"]["type"] == "supergroup"
    with pytest.raises(ValueError, match="who it is"):
        await group.send_text("nobody")


async def test_without_privacy_mode_everything_comes() -> None:
    api = BotApi(reads_all_group_messages=True)
    await api.group(-5).send_text("hello", by=api.user(7))
    assert len(api.updates.pending) == 1


async def test_topics(api: BotApi, ask: Ask) -> None:
    """In a forum a message belongs to a topic; a thread id may also stand for a chain of replies."""
    forum = api.group(topics=[3])
    message = await forum.send_text("/talk", by=api.user(7), thread_id=3)
    answer = await ask("sendMessage", chat_id=forum.id, text="yes", message_thread_id=3)
    assert message.raw["is_topic_message"] is answer["result"]["is_topic_message"] is True
    assert "is_topic_message" not in (await forum.send_text("/talk", by=api.user(7), thread_id=9)).raw
    assert (await ask("sendMessage", chat_id=forum.id, text="?", message_thread_id=4))["error_code"] == 400


# --- the bot's messages ---


async def test_send_video(ask: Ask, ada: Chat) -> None:
    """The uploaded bytes, the geometry and the thumbnail are in the message, as a reply; a file_id sends it again."""
    voice = await ada.send_voice(b"OggS")
    answer = await ask(
        "sendVideo",
        files={"video": ("talk.mp4", b"--moov--\r\n", "video/mp4"), "cover": ("t.jpg", jpeg(200, 320), "image/jpeg")},
        chat_id="7",
        width="480",
        height="640",
        duration="5",
        caption="Here",
        supports_streaming="true",
        thumbnail="attach://cover",
        reply_parameters={"message_id": voice.id},
    )
    message = ada.messages[-1]
    assert message.file is not None
    assert message.file.data == b"--moov--\r\n"
    assert (message.reply_to_id, message.text) == (voice.id, "Here")
    video = answer["result"]["video"]
    assert (video["width"], video["height"], video["duration"], video["file_name"]) == (480, 640, 5, "talk.mp4")
    assert video["thumbnail"]["width"] == 200
    [call] = ada.history
    assert (call.parameters["supports_streaming"], call.parameters["video"].data) == (True, b"--moov--\r\n")
    again = await ask("sendVideo", chat_id=7, video=video["file_id"])
    assert again["result"]["video"]["file_unique_id"] == video["file_unique_id"]


async def test_replies_to_what_is_gone(ask: Ask, ada: Chat) -> None:
    """Refused, unless it may be sent without."""
    voice = await ada.send_voice(b"OggS")
    await ada.delete(voice)
    wish: Raw = {"message_id": voice.id}
    assert not (await ask("sendMessage", chat_id=7, text="x", reply_parameters=wish))["ok"]
    wish["allow_sending_without_reply"] = True
    answer = await ask("sendMessage", chat_id=7, text="x", reply_parameters=wish)
    assert "reply_to_message" not in answer["result"]


async def test_edits(ask: Ask, ada: Chat) -> None:
    """Text and buttons are exchanged together; the same again is "not modified"; text turns into a video."""
    edit = {"chat_id": 7, "message_id": 1}
    await ask("sendMessage", chat_id=7, text="working", reply_markup=YES)
    assert (await ask("editMessageReplyMarkup", **edit, reply_markup=YES))["error_code"] == 400
    assert (await ask("editMessageReplyMarkup", **edit))["result"]["text"] == "working"
    assert ada.messages[0].buttons == {}
    assert "message is not modified" in (await ask("editMessageText", **edit, text="working"))["description"]
    assert "edit_date" in (await ask("editMessageText", **edit, text="sending"))["result"]
    assert "message is not modified" in (await ask("editMessageText", **edit, text="sending"))["description"]
    assert "Media type" in (await ask("editMessageMedia", **edit, media={"type": "text"}))["description"]
    media = {"type": "video", "media": "attach://clip", "width": 480}
    await ask("editMessageMedia", files={"clip": ("v.mp4", b"mp4")}, chat_id="7", message_id="1", media=media)
    [message] = ada.messages
    assert message.file is not None
    assert (message.file.data, message.text, (message.video or {})["width"]) == (b"mp4", "", 480)
    assert "no text in the message" in (await ask("editMessageText", **edit, text="x"))["description"]
    assert (await ask("deleteMessage", **edit))["result"] is True
    assert not ada.messages


async def test_other_methods(api: BotApi, ask: Ask, ada: Chat) -> None:
    """Animations are documents too; actions and reactions are taken; the profile is kept for each language."""
    await ask("sendAnimation", files={"animation": ("a.mp4", b"mp4")}, chat_id="7")
    raw = ada.messages[0].raw
    assert raw["animation"] == raw["document"]
    assert (await ask("sendChatAction", chat_id=7, action="record_video"))["result"] is True
    assert (await ask("setMessageReaction", chat_id=7, message_id=1))["result"] is True
    assert (await ask("getMe"))["result"] == api.me
    commands = [{"command": "start", "description": "Start"}]
    await ask("setMyCommands", commands=commands, language_code="de")
    await ask("setMyShortDescription", short_description="Talks")
    assert (await ask("getMyCommands", language_code="de"))["result"] == commands
    assert (await ask("getMyCommands"))["result"] == []
    assert (await ask("getMyShortDescription"))["result"] == {"short_description": "Talks"}
    await ask("deleteMyCommands", language_code="de")
    assert (await ask("getMyCommands", language_code="de"))["result"] == []


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


# --- words with markup, and questions ---


@pytest.mark.parametrize(
    ("html", "text", "kinds"),
    [
        ("a <b>bold</b> &lt;word&gt; &amp; <code>7</code>", "a bold <word> & 7", ["bold", "code"]),
        ('<a href="https://a.test"><i>there</i></a>', "there", ["italic", "text_link"]),
    ],
)
async def test_html_is_shown_as_it_is_meant(ask: Ask, ada: Chat, html: str, text: str, kinds: list[str]) -> None:
    sent = (await ask("sendMessage", chat_id=7, text=html, parse_mode="HTML"))["result"]
    assert (sent["text"], [entity["type"] for entity in sent["entities"]]) == (text, kinds)
    assert (await ask("sendMessage", chat_id=7, text=html))["result"]["text"] == html


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<blink>", 'Unsupported start tag "blink"'),
        ("<b>bold", 'Can\'t find end tag corresponding to start tag "b"'),
        ("bold</b>", 'Unexpected end tag "b"'),
        ("1 < 2", "Unsupported start tag"),
    ],
)
async def test_html_that_can_t_be_parsed_is_refused(ask: Ask, ada: Chat, text: str, why: str) -> None:
    refused = await ask("sendMessage", chat_id=7, text=text, parse_mode="HTML")
    assert refused["description"].startswith("Bad Request: can't parse entities: ")
    assert why in refused["description"]


async def test_a_question_can_t_be_edited(ask: Ask, ada: Chat) -> None:
    """A message with ForceReply remembers what it asks for, and shows no keyboard."""
    asks = {"force_reply": True, "selective": True, "input_field_placeholder": "A photo"}
    sent = (await ask("sendMessage", chat_id=7, text="What?", reply_markup=asks))["result"]
    assert "reply_markup" not in sent
    assert ada.messages[-1].asks == asks
    refused = await ask("editMessageText", chat_id=7, message_id=sent["message_id"], text="Well?")
    assert refused["description"] == "Bad Request: message can't be edited"
    too_long = asks | {"input_field_placeholder": "x" * 65}
    assert not (await ask("sendMessage", chat_id=7, text="What?", reply_markup=too_long))["ok"]
    assert not (await ask("sendMessage", chat_id=7, text="What?", parse_mode="Markdown"))["ok"]


async def test_admins_are_known(api: BotApi, ask: Ask) -> None:
    group = api.group()
    await group.send_text("hi", by=api.user(7))
    assert (await ask("getChatMember", chat_id=group.id, user_id=7))["result"]["status"] == "member"
    group.admins.add(7)
    assert (await ask("getChatMember", chat_id=group.id, user_id=7))["result"]["status"] == "administrator"
