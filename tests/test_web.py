"""What the outside reaches: AKOOL's callbacks, signed media, health, metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from akool.webhook import seal_callback
from bot.resources import Keys
from bot.sandbox import Video
from bot.sandbox.chats import Chat
from clocks import TurnableClock
from scenes import ask_for_video, calls_of, delete_row, job_in, new_chat, passing, refusing, video_in
from storage.job import State
from storage.objects import LocalStore, MediaSigner, new_key
from world import World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

JPEG = bytes(range(256)) * 10  # to be served, not to be looked at
in_module = pytest_asyncio.fixture(scope="module", loop_scope="module")


@pytest.fixture(scope="module")
def clock() -> TurnableClock:
    return TurnableClock()


@in_module
async def here(tmp_path_factory: pytest.TempPathFactory, clock: TurnableClock) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world"), clock=clock, akool_max_concurrent=100) as here:
        here.akool.hold()
        yield here


@in_module
async def http(here: World) -> AsyncIterator[httpx.AsyncClient]:
    assert here.settings.public_url is not None
    async with httpx.AsyncClient(base_url=here.settings.public_url) as http:
        yield http


# --- callbacks ---


@dataclass
class Render:
    """A render under way at AKOOL, and how to call back about it."""

    here: World
    chat: Chat
    video: Video

    @property
    def url(self) -> str:
        return str(self.video.request["webhookUrl"])

    @property
    def questions(self) -> int:
        return sum(call.parameters["video_model_id"] == self.video.id for call in self.here.akool.questions)

    def sealed(self, *, client_id: str | None = None, **content: Any) -> bytes:
        """A callback's body; it says that the video is done unless `content` says otherwise."""
        account = self.here.akool.account
        return seal_callback(
            {"_id": self.video.id, "type": "talking photo", "status": 3, "url": "https://akool.test/v.mp4"} | content,
            client_id=client_id or account.client_id,
            client_secret=account.client_secret,
            timestamp_ms=1,
            nonce="1234",
        )

    async def heard(self) -> int:
        """How much the callbacks have told so far, as the ledger has it."""
        [call] = await calls_of(self.here, await job_in(self.here, self.chat, State.RENDERING))
        return call.heard


async def render(here: World) -> Render:
    before = len(here.akool.videos)
    chat = await ask_for_video(here)
    await job_in(here, chat, State.RENDERING)
    return Render(here, chat, here.akool.videos[before])


@in_module
async def untouched(here: World) -> Render:
    """A render that nobody may disturb."""
    return await render(here)


Body = bytes | AsyncIterator[bytes]


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1 << 14):
        yield data[start : start + (1 << 14)]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, lambda render: render.sealed(client_id="somebody else's")),
        (403, lambda render: render.sealed(_id="0123456789abcdef01234567")),
        (403, lambda render: render.sealed(_id="'; DROP TABLE jobs; --")),
        (403, lambda render: render.sealed(_id=None)),
        (403, lambda render: render.sealed(status="done")),
        (403, lambda render: render.sealed()[:-9] + b"}"),
        (403, lambda _: b""),
        (403, lambda _: b"{}"),
        (403, lambda _: b"\xff\xfe"),
        (403, lambda _: b"[" * 60_000),
        (413, lambda _: b" " * (64 << 10) + b"{}"),
        (413, lambda render: in_pieces(render.sealed() + b" " * (64 << 10))),
    ],
    ids=[
        "signature",
        "other id",
        "odd id",
        "no id",
        "odd status",
        "cut",
        "empty",
        "bare",
        "bytes",
        "deep",
        "huge",
        "fed",
    ],
)
async def test_a_callback_that_is_not_right_is_refused_and_leaves_no_trace(
    status: int, body: Callable[[Render], Body], untouched: Render, http: httpx.AsyncClient
) -> None:
    response = await http.post(untouched.url, content=body(untouched))

    assert response.status_code == status
    assert await untouched.heard() == 0


@pytest.mark.parametrize("token", ["x", "A" * 32, "..", "%00", "%2e%2e%2ftelegram", "A/B", "Ü"])
async def test_a_callback_to_an_unknown_path_is_not_found(
    token: str, untouched: Render, http: httpx.AsyncClient
) -> None:
    response = await http.post(f"/akool/{token}", content=untouched.sealed())

    assert response.status_code == 404


@pytest.mark.parametrize(
    "token", ["%00", "a%00b" * 8, "%ff" * 32, "%ED%A0%80" * 8, "..%2f" * 8, "x" * 5000, "%E2%80%AE" * 16, "'--" * 8]
)
async def test_a_callback_to_an_odd_path_is_not_found_either(token: str, http: httpx.AsyncClient) -> None:
    """Not every database takes every sign; none gets to see them."""
    assert (await http.post(f"/akool/{token}", content=b"{}")).status_code == 404


async def test_a_callback_is_a_post(untouched: Render, http: httpx.AsyncClient) -> None:
    assert (await http.get(untouched.url)).status_code == 405


@pytest.mark.parametrize("content", [{"status": 1}, {"status": 2}, {"status": 99, "url": None}])
async def test_a_callback_that_tells_no_end_is_taken_and_rings_nothing(
    content: dict[str, Any], untouched: Render, http: httpx.AsyncClient
) -> None:
    assert (await http.post(untouched.url, content=untouched.sealed(**content))).status_code == 200
    assert await untouched.heard() == 0


async def test_a_callback_that_cant_be_stored_is_not_answered_200(untouched: Render, http: httpx.AsyncClient) -> None:
    """So AKOOL repeats it; the log says once that it had to."""
    with capture_logs() as logged:
        async with refusing(untouched.here, "UPDATE ON calls"):
            responses = [await http.post(untouched.url, content=untouched.sealed()) for _ in range(3)]
        await http.post(untouched.url, content=untouched.sealed(status=2))

    assert [response.status_code for response in responses] == [429] * 3
    assert await untouched.heard() == 0
    about_it = [line["log_level"] for line in logged if "what comes in can't be stored" in line.values()]
    assert about_it == ["warning", "info"]


async def test_a_late_callback_about_a_job_that_was_forgotten_is_taken(here: World, http: httpx.AsyncClient) -> None:
    """As any other, else AKOOL repeats it for hours; what is not AKOOL's is refused as ever."""
    late = await render(here)
    job = await job_in(here, late.chat, State.RENDERING)
    await delete_row(here, job)

    for body in (late.sealed(), late.sealed(), late.sealed(status=4, url=None)):
        assert (await http.post(late.url, content=body)).status_code == 200
    assert (await http.post(late.url, content=late.sealed(_id="0" * 24))).status_code == 403
    assert (await http.post(late.url, content=late.sealed(client_id="somebody else's"))).status_code == 403
    [call] = await calls_of(here, job)
    assert (call.akool_id, call.outcome) == (late.video.id, "accepted")


async def test_a_callback_makes_us_ask_once_however_often_it_comes(
    here: World, http: httpx.AsyncClient, clock: TurnableClock
) -> None:
    """AKOOL's word alone changes nothing, and a replayed one causes no further question."""
    rendering = await render(here)
    body = rendering.sealed()

    assert (await http.post(rendering.url, content=body)).status_code == 200
    await here.akool.wait_until(lambda: rendering.questions == 1)
    replies = await asyncio.gather(*(http.post(rendering.url, content=body) for _ in range(20)))
    assert {reply.status_code for reply in replies} == {200}
    assert (await http.post(rendering.url, content=rendering.sealed(url=None))).status_code == 200
    job = await job_in(here, rendering.chat, State.RENDERING)
    assert job.result_url is None

    await here.akool.finish(rendering.video)
    await passing(here, clock, rendering.chat, video_in(rendering.chat))
    assert rendering.questions == 2, "the second one is the poll's"


async def test_a_callback_that_came_too_early_silences_no_later_one(
    here: World, http: httpx.AsyncClient, clock: TurnableClock
) -> None:
    """Where AKOOL itself did not agree yet, the next callback is heard again, though not more often than polls are."""
    rendering = await render(here)
    await http.post(rendering.url, content=rendering.sealed())
    await here.akool.wait_until(lambda: rendering.questions == 1)
    async with asyncio.timeout(60):
        while (await job_in(here, rendering.chat, State.RENDERING)).claim is not None:
            await asyncio.sleep(0.01)
    clock.turn(seconds=11)
    await http.post(rendering.url, content=rendering.sealed())
    await here.akool.wait_until(lambda: rendering.questions == 2)
    await http.post(rendering.url, content=rendering.sealed())
    await here.akool.finish(rendering.video)
    await passing(here, clock, rendering.chat, video_in(rendering.chat))
    assert rendering.questions == 3, "the third one is the poll's"


# --- media ---


@dataclass
class Shelf:
    """Where the bot keeps its media, and the signatures that open it."""

    folder: Path
    store: LocalStore
    signer: MediaSigner


@in_module
async def shelf(here: World, clock: TurnableClock) -> Shelf:
    assert here.settings.public_url is not None
    signer = MediaSigner(Keys.of(here.settings).media, here.settings.public_url, now=lambda: clock.now() / 1000)
    folder = Path(here.settings.media_store)
    return Shelf(folder, LocalStore(folder, signer), signer)


@pytest_asyncio.fixture(loop_scope="module")
async def key(shelf: Shelf, tmp_path: Path) -> str:
    """A picture on the shelf."""
    key = new_key("in", "jpg")
    source = tmp_path / "source"
    source.write_bytes(JPEG)
    await shelf.store.put(key, source)
    return key


@pytest.fixture
def url(shelf: Shelf, key: str) -> str:
    """Its URL, good for a minute."""
    return shelf.store.url(key, ttl_seconds=60)


async def test_media_are_served_by_signed_urls(url: str, http: httpx.AsyncClient) -> None:
    response = await http.get(url)

    assert response.status_code == 200
    assert response.content == JPEG
    assert response.headers["Content-Type"] == "image/jpeg"
    assert response.headers["Cache-Control"] == "private, max-age=60"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "server" not in response.headers


async def test_head_tells_the_size_and_sends_nothing(url: str, http: httpx.AsyncClient) -> None:
    response = await http.head(url)

    assert response.status_code == 200
    assert response.headers["Content-Length"] == str(len(JPEG))
    assert response.content == b""


@pytest.mark.parametrize(
    ("wish", "status", "part"),
    [
        ("bytes=0-9", 206, JPEG[:10]),
        ("bytes=100-", 206, JPEG[100:]),
        ("bytes=-5", 206, JPEG[-5:]),
        (f"bytes={len(JPEG)}-", 416, None),
        ("bytes=9-0", 400, None),
        ("lines=0-9", 400, None),
    ],
)
async def test_a_part_can_be_asked_for(
    wish: str, status: int, part: bytes | None, url: str, http: httpx.AsyncClient
) -> None:
    response = await http.get(url, headers={"Range": wish})

    assert response.status_code == status
    if part is not None:
        assert response.content == part
        assert response.headers["Content-Range"].endswith(f"/{len(JPEG)}")


async def test_a_url_that_was_tampered_with_is_not_found(
    url: str, shelf: Shelf, tmp_path: Path, http: httpx.AsyncClient
) -> None:
    root, expires, signature, folder, name = url.rsplit("/", 4)
    other = new_key("in", "jpg")
    (tmp_path / "other").write_bytes(b"private")
    await shelf.store.put(other, tmp_path / "other")
    tampered = [
        f"{root}/{int(expires) + 3600}/{signature}/{folder}/{name}",
        f"{root}/0{expires}/{signature}/{folder}/{name}",
        f"{root}/{expires}/{signature[::-1]}/{folder}/{name}",
        f"{root}/{expires}/{signature}=/{folder}/{name}",
        f"{root}/{expires}/-/{folder}/{name}",
        f"{root}/{expires}/{signature}/{other}",
        f"{root}/{expires}/{signature}/out/{name}",
        f"{root}/{expires}/{signature}/{folder}/{name.replace('.jpg', '.mp4')}",
        f"{root}/{expires}/{signature}/{folder}/{name}/",
        f"{root}/{expires}/{signature}/{folder}/%2e%2e/{folder}/{name}",
        f"{root}/{expires}/{signature}/%2e%2e%2f%2e%2e%2fapp_secret",
        f"{root}/{expires}/{signature}//etc/passwd",
        f"{root}/{expires}/{signature}/%00",
        f"{root}/{expires}/{signature}/{folder}",
    ]
    assert {(await http.get(address)).status_code for address in tampered} == {404}
    assert (await http.get(url)).status_code == 200


async def test_dots_in_a_raw_path_lead_nowhere(url: str, http: httpx.AsyncClient) -> None:
    """Httpx would tidy them up, so the request is written by hand."""
    address = httpx.URL(url)
    path = address.path.rpartition("/in/")[0] + "/../../../app_secret"
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address.host}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 404")


async def test_an_expired_url_is_gone(url: str, clock: TurnableClock, http: httpx.AsyncClient) -> None:
    clock.turn(seconds=59)
    assert (await http.get(url)).status_code == 200
    clock.turn(seconds=1)
    assert (await http.get(url)).status_code == 410
    assert (await http.head(url)).status_code == 410


async def test_an_object_that_is_missing_is_not_found(
    url: str, key: str, shelf: Shelf, http: httpx.AsyncClient
) -> None:
    await shelf.store.delete(key)

    response = await http.get(url)
    assert (response.status_code, response.text) == (404, "not found\n")
    assert (await http.head(url)).status_code == 404


async def test_media_take_no_post(url: str, http: httpx.AsyncClient) -> None:
    assert (await http.post(url)).status_code == 405


# --- health ---


async def test_alive(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).status_code == 200


async def ready(http: httpx.AsyncClient, status: int) -> set[str]:
    """The parts that don't work, once `/readyz` gives that status: the loops have to notice a turned clock first."""
    async with asyncio.timeout(30):
        while (response := await http.get("/readyz")).status_code != status:
            await asyncio.sleep(0.01)
    return {name for name, part in response.json().items() if not part["ok"]}


@pytest_asyncio.fixture(loop_scope="module")
async def fresh(here: World, http: httpx.AsyncClient) -> None:
    """An update has just come, so polling works."""
    await new_chat(here).send_sticker(b"")
    await ready(http, 200)


@pytest.mark.usefixtures("fresh")
async def test_ready_while_all_parts_work(http: httpx.AsyncClient) -> None:
    response = await http.get("/readyz")

    assert response.status_code == 200
    parts = response.json()
    assert set(parts) == {"database", "store", "updates", "tracker", "running"}
    assert all(part["ok"] for part in parts.values())
    assert all(0 <= parts[name]["age_seconds"] < 60 for name in ("database", "store", "updates", "tracker"))


@contextmanager
def put_away(folder: Path) -> Iterator[None]:
    aside = folder.rename(folder.with_name("elsewhere"))
    try:
        yield
    finally:
        aside.rename(folder)


@pytest.mark.usefixtures("fresh")
async def test_not_ready_while_the_store_cant_be_used(shelf: Shelf, http: httpx.AsyncClient) -> None:
    with put_away(shelf.folder):
        assert await ready(http, 503) == {"store"}
    assert await ready(http, 200) == set()


@pytest.mark.usefixtures("fresh")
async def test_not_ready_while_no_poll_comes_back(here: World, clock: TurnableClock, http: httpx.AsyncClient) -> None:
    clock.turn(seconds=180)
    assert "updates" in await ready(http, 503)

    await new_chat(here).send_sticker(b"")
    assert await ready(http, 200) == set()


async def test_an_unknown_path_is_not_found(http: httpx.AsyncClient) -> None:
    assert [(await http.get(path)).status_code for path in ("/", "/media", "/telegram/", "/akool/")] == [404] * 4
