"""The local AKOOL follows https://docs.akool.com, and does what it is told to."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from akool import open_callback
from bot.sandbox import Akool, Video, serve

PHOTO = (Path(__file__).parent.parent / "bot" / "sandbox" / "samples" / "photo.jpg").read_bytes()
DAY_SECONDS = 24 * 3600

Raw = dict[str, Any]
Ask = Callable[..., Awaitable[Raw]]


@cache
def mp3(seconds: float) -> bytes:
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=44100, layout="mono")
        for number in range(int(seconds * 44100 / 1152)):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.int16), format="s16p", layout="mono")
            frame.sample_rate, frame.pts = 44100, number * 1152
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return sink.getvalue()


class Outside:
    """Whom AKOOL talks to: a web server with our media, and a webhook that keeps what it gets."""

    def __init__(self) -> None:
        self.url = ""
        self.files = {
            "photo": Response(PHOTO, media_type="image/jpeg"),
            "voice": Response(mp3(1), media_type="audio/mpeg"),
            "long": Response(mp3(11), media_type="audio/mpeg"),
            "mislabelled": Response(PHOTO, media_type="text/html"),
            "broken_photo": Response(PHOTO[:99], media_type="image/jpeg"),
            "broken_voice": Response(b"nonsense", media_type="audio/mpeg"),
            "moved": RedirectResponse("/photo"),
            "missing": Response("", 404, media_type="image/jpeg"),
        }
        self.bodies: list[bytes] = []
        self.answers: list[int] = []

    async def file(self, request: Request) -> Response:
        return self.files[request.path_params["name"]]

    async def hook(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        return Response(status_code=self.answers.pop(0) if self.answers else 200)


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    there = Outside()
    app = Starlette(routes=[Route("/hook", there.hook, methods=["POST"]), Route("/{name}", there.file)])
    async with serve(app) as there.url:
        yield there


class Now:
    """A clock to be turned, in seconds."""

    def __init__(self) -> None:
        self.seconds = 1_700_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
async def akool(now: Now) -> AsyncIterator[Akool]:
    def render(photo: Path, _audio: Path, target: Path) -> None:
        target.write_bytes(b"mp4 of " + photo.read_bytes()[:4])

    server = Akool(renderer=render, callback_retry_seconds=0, now=now)
    async with server.serving():
        yield server


@pytest.fixture
def ask(akool: Akool) -> Ask:
    """Call the API with the account's key, or with other headers, and return the whole answer."""

    async def ask(method: str, path: str, headers: dict[str, str] | None = None, **rest: Any) -> Raw:
        headers = {"x-api-key": akool.account.client_secret} if headers is None else headers
        response = await akool.http.request(method, f"{akool.root_url}/api/open/v3/{path}", headers=headers, **rest)
        answer: Raw = response.json()
        return answer

    return ask


async def create(ask: Ask, outside: Outside, photo: str = "photo", voice: str = "voice", **more: Any) -> Raw:
    urls = {"talking_photo_url": f"{outside.url}/{photo}", "audio_url": f"{outside.url}/{voice}"}
    wish = urls | {"webhookUrl": f"{outside.url}/hook"} | more
    return await ask("POST", "content/video/createbytalkingphoto", json=wish)


async def info(ask: Ask, video_id: str) -> Raw:
    return await ask("GET", "content/video/infobymodelid", params={"video_model_id": video_id})


def opened(akool: Akool, outside: Outside) -> list[tuple[int, bool]]:
    """What was called back, by the client's own reading of the envelope: status, and whether there is a URL."""
    found = [
        open_callback(body, client_id=akool.account.client_id, client_secret=akool.account.client_secret)
        for body in outside.bodies
    ]
    assert {callback.id for callback in found} <= {video.id for video in akool.videos}
    return [(callback.status.value, callback.url is not None) for callback in found]


async def settled(akool: Akool, *, callbacks: int) -> Video:
    [video] = akool.videos
    await akool.wait_until(lambda: len(video.callbacks) >= callbacks)
    return video


# --- authorization ---


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, 1102),
        ({"x-api-key": "wrong"}, 1101),
        ({"x-api-key": "{key}"}, 1000),
        ({"authorization": "Bearer wrong", "x-api-key": "{key}"}, 1101),
        ({"authorization": "Bearer {key}"}, 1101),
        ({"authorization": "Bearer {token}", "x-api-key": "wrong"}, 1000),
    ],
)
async def test_authorization(akool: Akool, ask: Ask, headers: dict[str, str], code: int) -> None:
    """A key or a token; "Authorization will be used first"; nothing at all is 1102."""
    token = akool.account.issue_token(akool.account.client_id, akool.account.client_secret)
    filled = {name: value.format(key=akool.account.client_secret, token=token) for name, value in headers.items()}
    assert (await ask("GET", "faceswap/quota/info", filled))["code"] == code


async def test_tokens(akool: Akool, ask: Ask, now: Now) -> None:
    """`token` stands at the top level, lives for a year, and can be revoked."""
    wish = {"clientId": akool.account.client_id, "clientSecret": akool.account.client_secret}
    answer = await ask("POST", "getToken", {}, json=wish)
    assert answer.keys() == {"code", "token"}
    bearer = {"authorization": f"Bearer {answer['token']}"}
    assert await ask("GET", "faceswap/quota/info", bearer) == {"code": 1000, "msg": "OK", "data": {"credit": 1000}}
    now.seconds += 367 * DAY_SECONDS
    assert (await ask("GET", "faceswap/quota/info", bearer))["code"] == 1101
    bearer = {"authorization": f"Bearer {(await ask('POST', 'getToken', {}, json=wish))['token']}"}
    akool.account.revoke_tokens()
    assert (await ask("GET", "faceswap/quota/info", bearer))["code"] == 1101
    assert (await ask("POST", "getToken", {}, json=wish | {"clientSecret": "x"}))["code"] == 1101


# --- create, and what becomes of it ---


async def test_from_create_to_mp4(akool: Akool, ask: Ask, outside: Outside, now: Now) -> None:
    """Created, queueing, processing, completed; the mp4 stands at a plain URL for seven days; credits are spent."""
    akool.hold()
    created = await create(ask, outside, prompt="Smile", resolution="720")
    data = created["data"]
    assert (created["code"], data["video_status"], data["video"]) == (1000, 1, "")
    assert (data["prompt"], data["resolution"], data["deduction_lock_duration"]) == ("Smile", "720", 10)
    [video] = akool.videos
    assert (video.photo.data, video.photo.content_type, video.audio.content_type) == (PHOTO, "image/jpeg", "audio/mpeg")
    assert (await info(ask, data["_id"]))["data"]["video_status"] == 2
    await akool.finish(video)
    done = (await info(ask, data["_id"]))["data"]
    assert done["video_status"] == 3
    assert done["video"].startswith(f"{akool.root_url}/{video.completed_at_ms}-")
    response = await akool.http.get(done["video"])
    assert (response.content, response.headers["content-type"]) == (b"mp4 of " + PHOTO[:4], "video/mp4")
    now.seconds += 7 * DAY_SECONDS + 1
    assert (await akool.http.get(done["video"])).status_code == 404
    assert (len(akool.creates), len(akool.questions), akool.credit) == (1, 2, 990)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"talking_photo_url": ""}, 1003),
        ({"audio_url": 5}, 1003),
        ({"resolution": "720p"}, 1003),
        ({"resolution": 720}, 1003),
        ({"photo": "mislabelled"}, 1015),
        ({"photo": "moved"}, 1015),
        ({"photo": "missing"}, 1015),
        ({"photo": "broken_photo"}, 1015),
        ({"voice": "photo"}, 1015),
        ({"voice": "broken_voice"}, 1015),
        ({"audio_url": "http://127.0.0.1:1/voice.mp3"}, 1015),
        ({"audio_url": "http://[nonsense"}, 1015),
        ({"voice": "long"}, 1006),
    ],
)
async def test_create_is_refused(akool: Akool, ask: Ask, outside: Outside, change: Raw, code: int) -> None:
    """Parameters that make no sense, media that can't be fetched and decoded, too few credits: nothing is charged."""
    akool.credit = 10
    assert (await create(ask, outside, **change))["code"] == code
    assert (akool.videos, akool.credit) == ([], 10)


async def test_bodies_that_are_no_objects(ask: Ask) -> None:
    for body in (b"", b"{", b"[]"):
        assert (await ask("POST", "content/video/createbytalkingphoto", content=body))["code"] == 1003


async def test_unknown_things(ask: Ask) -> None:
    """An unknown video is 1008, none named 1003, and an unknown route has no `code`."""
    assert (await info(ask, "64dd90f9f0b6684651e90d60"))["code"] == 1008
    assert (await info(ask, ""))["code"] == 1003
    assert await ask("POST", "content/upload/image") == {"status": 404, "msg": "Not Found"}


async def test_failed_renders(akool: Akool, ask: Ask, outside: Outside) -> None:
    """On order or by a renderer's error: status 4 with a reason and code 1000, the credits come back."""
    akool.fail_next_render("no face in it")
    created = await create(ask, outside)
    video = await settled(akool, callbacks=1)
    answer = await info(ask, created["data"]["_id"])
    assert (answer["code"], answer["data"]["video_status"], answer["data"]["video"]) == (1000, 4, "")
    assert (answer["data"]["error_reason"], akool.credit) == ("no face in it", 1000)
    assert opened(akool, outside) == [(4, False)]
    akool.renderer = lambda *_: None
    await create(ask, outside)
    await akool.finish(akool.videos[-1])
    assert (akool.videos[-1].status, video.status, akool.credit) == (4, 4, 1000)


# --- callbacks ---


@pytest.mark.parametrize(
    ("callbacks", "news"),
    [
        ("normal", [(3, True)]),
        ("twice", [(3, True), (3, True)]),
        ("in pieces", [(2, False), (3, False), (3, True)]),
        ("never", []),
    ],
)
async def test_callbacks(
    akool: Akool, ask: Ask, outside: Outside, callbacks: Any, news: list[tuple[int, bool]]
) -> None:
    """What is called back, sealed so that the client opens it."""
    akool.callbacks = callbacks
    await create(ask, outside)
    video = await settled(akool, callbacks=len(news))
    await akool.finish(video)
    assert opened(akool, outside) == news


async def test_early_callbacks(akool: Akool, ask: Ask, outside: Outside) -> None:
    """The callback may be there before create is answered, and even where the answer is lost."""
    akool.callbacks = "early"
    akool.drop("createbytalkingphoto", before=False)
    with pytest.raises(httpx.TransportError):
        await create(ask, outside)
    assert opened(akool, outside) == [(3, True)]


async def test_callbacks_are_repeated_until_exactly_200(akool: Akool, ask: Ask, outside: Outside) -> None:
    """204 is not enough; after five tries it is given up; without a webhookUrl nobody is called."""
    outside.answers = [500, 204]
    await create(ask, outside)
    video = await settled(akool, callbacks=3)
    assert [callback.http_status for callback in video.callbacks] == [500, 204, 200]
    assert len(set(outside.bodies)) == 3
    await create(ask, outside, webhookUrl="http://127.0.0.1:1/hook")
    given_up = akool.videos[-1].callbacks
    await akool.wait_until(lambda: len(given_up) == 5)
    assert {callback.http_status for callback in given_up} == {0}
    await create(ask, outside, webhookUrl="")
    await akool.finish(akool.videos[-1])
    assert akool.videos[-1].callbacks == []


async def test_further_callbacks(akool: Akool, ask: Ask, outside: Outside) -> None:
    """A test may call back about whatever it likes, whenever it likes."""
    await create(ask, outside)
    video = await settled(akool, callbacks=1)
    assert (await akool.call_back(video, {"status": 2})).http_status == 200
    assert opened(akool, outside) == [(3, True), (2, False)]


# --- faults ---


async def test_refusals_on_order(akool: Akool, ask: Ask, outside: Outside) -> None:
    """By a code, or as a web page with an HTTP status; carried out or not."""
    akool.fail("createbytalkingphoto", code=1015)
    akool.fail("createbytalkingphoto", http_status=502, acts=True)
    akool.fail("infobymodelid", http_status=503, headers={"Retry-After": "3"})
    assert await create(ask, outside) == {"code": 1015, "msg": "create video error, please try again later"}
    assert akool.videos == []
    with pytest.raises(ValueError, match="Expecting value"):
        await create(ask, outside)
    assert len(akool.videos) == 1
    response = await akool.http.get(f"{akool.root_url}/api/open/v3/content/video/infobymodelid")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3")


async def test_renders_under_way_end_with_the_server() -> None:
    """Stopping waits for nothing."""
    akool = Akool(render_seconds=3600)
    async with akool.serving():
        task = akool.spawn(asyncio.sleep(3600))
    assert task.cancelled()
