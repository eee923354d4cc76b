"""Whatever is thrown at the public port: no answer of 500 or more, no error, no secret, and life goes on.

A real service, real sockets. `TORTURE` throws more.
"""

import asyncio
import copy
import io
import json
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx
import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akool.webhook import seal_callback
from bot import logs
from bot.resources import Keys
from clocks import TurnableClock
from kills import TORTURE
from scenes import ask_for_video, calls_of, job_in, passing, video_in
from storage.job import State
from storage.objects import MediaSigner, new_key
from world import World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")
in_module = pytest_asyncio.fixture(scope="module", loop_scope="module")

APP_SECRET = "the-secret-of-the-app"


def a_few(examples: int) -> settings:
    return settings(
        max_examples=round(examples * (1 + 10 * TORTURE)),
        derandomize=not TORTURE,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


@dataclass
class Target:
    """The service, and what it has written and answered."""

    here: World
    clock: TurnableClock
    log: io.StringIO
    token: str
    """Of a create call that is under way."""
    http: httpx.AsyncClient

    @property
    def keys(self) -> Keys:
        return Keys.of(self.here.settings)

    async def throw(self, data: bytes) -> bytes:
        """Say it on a connection of its own; returns what comes back."""
        self.clock.turn(seconds=1)  # so that strangers are heard again
        reader, writer = await asyncio.open_connection("127.0.0.1", self.here.settings.port)
        answer = b""
        try:
            writer.write(data)
            writer.write_eof()
            async with asyncio.timeout(20):
                answer = await reader.read()
        except ConnectionError:
            pass  # closing before all was read is an answer as well
        finally:
            writer.close()
        self.judge(answer)
        return answer

    async def post(self, path: str, content: bytes, **headers: str) -> int:
        self.clock.turn(seconds=1)
        response = await self.http.post(path, content=content, headers=headers)
        self.judge(f"HTTP/1.1 {response.status_code} \r\n{response.headers}{response.text}".encode())
        return response.status_code

    def judge(self, answer: bytes) -> None:
        statuses = [int(status) for status in re.findall(rb"^HTTP/1\.1 (\d{3}) ", answer, re.MULTILINE)]
        assert not [status for status in statuses if status >= 500], answer
        for secret in (*self.here.settings.secrets(), *self.keys.telegram_webhook, str(self.here.settings.data_dir)):
            assert secret.encode() not in answer

    def judge_log(self, *excused: str) -> None:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        loud = [line for line in lines if line["level"] == "error" and not line["event"].startswith(excused)]
        assert not loud, loud[:3]


@in_module
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Target]:
    """One render is under way all the while."""
    log, clock = io.StringIO(), TurnableClock()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    logs.set_up(style="json", stream=log)
    folder = tmp_path_factory.mktemp("world")
    try:
        async with world(folder, clock=clock, app_secret=APP_SECRET, telegram_updates="webhook") as here:
            here.akool.hold()
            chat = await ask_for_video(here)
            [call] = await calls_of(here, await job_in(here, chat, State.RENDERING))
            async with httpx.AsyncClient(base_url=here.settings.public_url or "") as http:
                yield Target(here, clock, log, call.token, http)
    finally:
        structlog.reset_defaults()
        root.handlers[:] = handlers
        root.setLevel(level)


# --- raw HTTP, and what only looks like it ---

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PRI", "get", "X" * 300]
PATHS = ["/~", "~", "/akool/~", "/akool/{token}~", "/telegram~", "/media/~/x/in/y.jpg", "/media/9/~/~", "/healthz~"]
ODD = [
    "%00",
    "%",
    "%2",
    "%ff",
    "%ED%A0%80",
    "..",
    "../",
    "..%2f",
    "%2e%2e/",
    "//",
    "\\",
    ";",
    "?",
    "?x=%00",
    "#",
    "%u0661",
]
HEADERS = [
    ("Content-Length", ["-1", "+1", "1_0", "\u00b2", "9" * 30, "0x10", "1, 1", "", "5", "70000"]),
    ("Transfer-Encoding", ["chunked", "identity", "gzip, chunked", "xchunked", "chunked, chunked"]),
    (
        "Range",
        ["bytes=0-", "bytes=-", "bytes=9-1", "bytes=0-0," * 300, "bytes=" + "9" * 400 + "-", "bytes=\u00b2-\u00b3"],
    ),
    ("If-Range", ["x", "Thu, 99 Foo", '"'] * 2),
    ("X-Forwarded-For", ["", ",", "x", "::1%\u00b2", "1.1.1.1," * 300, "127.0.0.1", "\u00ff"]),
    ("X-Telegram-Bot-Api-Secret-Token", ["", "x", "\u00ff", "\u00b2"]),
    ("Authorization", ["", "Bearer", "Bearer \u00ff"]),
    ("Expect", ["100-continue", "200-ok"]),
    ("Connection", ["close", "upgrade", "keep-alive, upgrade"]),
    ("Upgrade", ["websocket", "h2c"]),
    ("Host", ["", "x:y", "\u00ff", "a" * 9000]),
    ("Cookie", ["a=b; " * 2000]),
]
header_lines = st.one_of(
    *(st.sampled_from(values).map(lambda value, name=name: f"{name}: {value}") for name, values in HEADERS),  # type: ignore[misc]
    st.sampled_from(["", ":", " x: y", "a b: c", "\x00: \x00", "x:\ty", "x" * 20_000]),
)
request_lines = st.builds(
    lambda method, path, odd, version: f"{method} {path.replace('~', ''.join(odd))} {version}",
    st.sampled_from(METHODS),
    st.sampled_from(PATHS),
    st.lists(st.sampled_from(ODD), max_size=3),
    st.sampled_from(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/9.99", ""]),
)
bodies = st.one_of(
    st.sampled_from(
        [b"", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"-1\r\n", b"ffffffffffffffffff\r\n", b"0;x=y\r\n\r\n"]
    ),
    st.binary(max_size=200),
)


@a_few(150)
@given(request_line=request_lines, lines=st.lists(header_lines, max_size=4), body=bodies)
async def test_odd_requests(request_line: str, lines: list[str], body: bytes, target: Target) -> None:
    head = "\r\n".join([request_line.replace("{token}", target.token), "Host: x", *lines])
    await target.throw(head.encode("latin-1") + b"\r\n\r\n" + body)
    target.judge_log()


@a_few(50)
@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode)))
async def test_anything_but_http(data: bytes, target: Target) -> None:
    await target.throw(data + b"\r\n\r\n")
    target.judge_log()


# --- signed URLs ---


async def test_a_signed_url_with_any_character_changed_opens_nothing(target: Target) -> None:
    signer = MediaSigner(target.keys.media, "", now=lambda: target.clock.now() / 1000)
    path = signer.url(new_key("in", "jpg"), ttl_seconds=3600)
    for place, character in enumerate(path):
        target.clock.turn(seconds=1)
        other = {"0": "1", "/": "-"}.get(character, "0")
        answer = await target.throw(f"GET {path[:place]}{other}{path[place + 1 :]} HTTP/1.0\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404" if place else b"HTTP/1.1 4"), place
    target.judge_log()


# --- callbacks ---

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(st.characters(), max_size=20),
    st.sampled_from(["\ud800", "\x00", "a\udfffb", "'; --", "<b>", "١٢", "https://127.0.0.1/x", "x" * 5000]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = ["signature", "dataEncrypt", "timestamp", "nonce"]
envelopes = st.dictionaries(st.sampled_from(NAMES), values, max_size=4) | values


@a_few(60)
@given(envelope=envelopes)
async def test_callbacks_that_nobody_sealed(envelope: Any, target: Target) -> None:
    assert await target.post(f"/akool/{target.token}", json.dumps(envelope).encode()) in (403, 413)
    target.judge_log()


CONTENTS = ["_id", "status", "type", "url", "errorMsg"]


@a_few(60)
@given(content=st.dictionaries(st.sampled_from(CONTENTS), values))
async def test_callbacks_that_akool_itself_makes_up(content: dict[str, Any], target: Target) -> None:
    """Well sealed, and nonsense."""
    account = target.here.akool.account
    body = seal_callback(
        {"_id": target.here.akool.videos[0].id, "type": "talking photo", "status": 3} | content,
        client_id=account.client_id,
        client_secret=account.client_secret,
        timestamp_ms=1,
        nonce="1234",
    )
    assert await target.post(f"/akool/{target.token}", body) in (200, 403)
    target.judge_log()


# --- updates ---

TELEGRAM = "X-Telegram-Bot-Api-Secret-Token"


@a_few(60)
@given(update=values | st.dictionaries(st.sampled_from(["update_id", "message", "callback_query"]), values))
async def test_updates_of_any_shape(update: Any, target: Target) -> None:
    secret = target.keys.telegram_webhook[0]
    assert await target.post("/telegram", json.dumps(update).encode(), **{TELEGRAM: secret}) == 200


_ids = count(5_000_000)


def updates_about(number: int) -> list[dict[str, Any]]:
    """What Telegram tells, one of each kind; somebody new each time, since what fails holds up its own chat."""
    person = {"id": number, "is_bot": False, "first_name": "Ada", "language_code": "de"}
    chat = {"id": number, "type": "private", "first_name": "Ada"}
    group = {"id": -number, "type": "supergroup", "title": "G", "is_forum": True}
    about = {"message_id": 5, "date": 1, "chat": chat, "from": person}
    file = {"file_id": "f", "file_unique_id": "u", "file_size": 1000}
    photo = [file | {"width": 90, "height": 90}]
    member = {"user": person, "status": "member"}
    change = {"date": 1, "old_chat_member": member, "new_chat_member": member}
    entities = [{"type": "bot_command", "offset": 0, "length": 5}]
    return [
        {"message": about | {"text": "/talk", "entities": entities}},
        {"message": about | {"text": "/again", "entities": [entities[0] | {"length": 6}]}},
        {"message": about | {"chat": group, "text": "/talk", "entities": entities, "message_thread_id": 3}},
        {"message": about | {"photo": photo, "caption": "x", "media_group_id": "1"}},
        {"message": about | {"voice": file | {"duration": 2, "mime_type": "audio/ogg"}}},
        {"message": about | {"document": file | {"file_name": "a.png", "mime_type": "image/png"}}},
        {"edited_message": about | {"edit_date": 2, "photo": photo}},
        {"message": about | {"chat": group, "migrate_to_chat_id": -number - 1}},
        {"callback_query": {"id": "1", "from": person, "chat_instance": "1", "data": "again:1", "message": about}},
        {"my_chat_member": {"chat": group, "from": person} | change},
    ]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in inner for place in places(below, (*path, key)))]


def changed(update: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    update = copy.deepcopy(update)
    holder = update
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return update


@a_few(80)
@given(data=st.data())
async def test_updates_with_a_member_that_is_not_what_it_was(data: st.DataObject, target: Target) -> None:
    number = next(_ids)
    update = data.draw(st.sampled_from(updates_about(number)))
    for place in data.draw(st.lists(st.sampled_from(places(update)[1:]), min_size=1, max_size=2, unique=True)):
        if place in places(update):
            update = changed(update, place, data.draw(values))
    body = json.dumps({"update_id": number} | update).encode()
    assert await target.post("/telegram", body, **{TELEGRAM: target.keys.telegram_webhook[0]}) == 200


async def test_strangers_who_are_too_many_are_turned_away(target: Target) -> None:
    """The doorman and the lobby do stand before the real service."""
    stranger = {"X-Forwarded-For": "203.0.113.7"}
    strangers = [(await target.http.get("/nothing", headers=stranger)).status_code for _ in range(130)]
    assert (strangers[0], strangers[-1]) == (404, 429)
    secret = target.keys.telegram_webhook[0]
    headers = stranger | {TELEGRAM: secret}
    assert (await target.http.post("/telegram", json={}, headers=headers)).status_code == 200

    port = target.here.settings.port
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(201)]
    ends = [asyncio.create_task(reader.read()) for reader, _ in streams]
    done, held = await asyncio.wait(ends, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    for _, writer in streams:
        writer.close()
    await asyncio.gather(*ends, return_exceptions=True)
    assert done
    assert len(held) >= 190
    target.clock.turn(seconds=60)
    target.judge_log("an update can't be", "a step failed")


async def test_after_all_that_somebody_gets_a_video(target: Target) -> None:
    """Nothing is stuck, and all that went wrong is what Telegram alone could send: somebody must hear of that."""
    chat = await ask_for_video(target.here)
    await job_in(target.here, chat, State.RENDERING)
    await target.here.akool.finish(target.here.akool.videos[-1])
    await passing(target.here, target.clock, chat, video_in(chat))
    target.judge_log("an update can't be", "a step failed")
