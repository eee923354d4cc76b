"""Fetching AKOOL's result: whole or not at all, and only from where results may come from."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from starlette.responses import JSONResponse, Response

from bot.results import Results, ResultUnavailable
from bot.sandbox import Akool
from bot.sandbox.stand_in import Fault
from clocks import TurnableClock
from scenes import ask_for_video, job_in, passing, says, video_in
from storage.job import State
from world import render_cheaply, tiny_mp4, world

VIDEO = bytes(range(256)) * 4096  # a megabyte
PUBLIC = "https://93.184.215.14/video.mp4?signature=hush"  # a literal address, so that nothing is looked up

Answer = Callable[[httpx.Request], httpx.Response]


async def fetch(answer: Answer, target: Path, url: str = PUBLIC, *, trust_private: bool = False) -> bytes:
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        await Results(http, trust_private=trust_private).fetch(url, target)
    return target.read_bytes()


async def streamed(data: bytes) -> AsyncIterator[bytes]:
    yield data


def whole(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=streamed(VIDEO))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "result.mp4"


async def test_a_result_is_written_as_it_came(target: Path) -> None:
    assert await fetch(whole, target) == VIDEO


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(200, headers={"Content-Length": str(len(VIDEO))}, content=streamed(VIDEO[:1000])),
        httpx.Response(404),
        httpx.Response(403, text="<Error>AccessDenied</Error>"),
        httpx.Response(500),
        httpx.Response(206, content=streamed(VIDEO[:1000])),
        httpx.Response(204),
        httpx.Response(302),
    ],
    ids=["cut off", "404", "403", "500", "a part", "nothing", "a redirect to nowhere"],
)
async def test_what_is_not_the_whole_file_is_unavailable(response: httpx.Response, target: Path) -> None:
    with pytest.raises(ResultUnavailable) as caught:
        await fetch(lambda _: response, target)
    assert "hush" not in str(caught.value)
    assert "93.184" not in str(caught.value)


@pytest.mark.parametrize("error", [httpx.ConnectTimeout, httpx.ReadError, httpx.RemoteProtocolError])
async def test_a_network_that_fails_makes_it_unavailable(error: type[httpx.TransportError], target: Path) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error(f"no way to {request.url}")

    with pytest.raises(ResultUnavailable) as caught:
        await fetch(fail, target)
    assert str(caught.value) == error.__name__


async def test_a_connection_whose_tls_breaks_makes_it_unavailable(target: Path) -> None:
    """Httpx lets that error through as it is."""

    async def breaks() -> AsyncIterator[bytes]:
        yield VIDEO[:1000]
        raise ssl.SSLError("bad record mac")

    with pytest.raises(ResultUnavailable, match="SSLError"):
        await fetch(lambda _: httpx.Response(200, content=breaks()), target)


async def test_a_few_redirects_are_followed(target: Path) -> None:
    def move_twice(request: httpx.Request) -> httpx.Response:
        hops = request.url.path.count("/on")
        return whole(request) if hops == 2 else httpx.Response(302, headers={"Location": request.url.path + "/on"})

    assert await fetch(move_twice, target) == VIDEO


async def test_redirects_without_end_are_given_up(target: Path) -> None:
    requests: list[httpx.Request] = []

    def move_on(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(302, headers={"Location": str(request.url)})

    with pytest.raises(ResultUnavailable, match="too many redirects"):
        await fetch(move_on, target)
    assert len(requests) < 10


FORBIDDEN = [
    "http://93.184.215.14/video.mp4",
    "ftp://93.184.215.14/video.mp4",
    "file:///etc/passwd",
    "https:///video.mp4",
    "https://127.0.0.1/video.mp4",
    "https://127.1/video.mp4",
    "https://2130706433/video.mp4",
    "https://localhost/video.mp4",
    "https://aws.amazon.com@127.0.0.1/video.mp4",
    "https://[::1]/video.mp4",
    "https://[::ffff:127.0.0.1]/video.mp4",
    "https://10.0.0.1/video.mp4",
    "https://192.168.1.1/video.mp4",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/video.mp4",
    "https://0.0.0.0/video.mp4",
    "",
]
NONSENSE = ["https://[::1/video.mp4", "https://93.184.215.14:99999/video.mp4", "https://a..b/video.mp4"]


@pytest.mark.parametrize("url", [*FORBIDDEN, *NONSENSE])
async def test_plain_http_private_addresses_and_nonsense_are_refused_unasked(url: str, target: Path) -> None:
    requests: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return whole(request)

    with pytest.raises(ResultUnavailable):
        await fetch(note, target, url)
    assert requests == []


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "https://10.0.0.1/x", "https://[::1]/x", "//localhost/x"])
async def test_a_redirect_is_judged_like_the_first_address(url: str, target: Path) -> None:
    hosts: list[str] = []

    def move(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        return httpx.Response(302, headers={"Location": url})

    with pytest.raises(ResultUnavailable):
        await fetch(move, target)
    assert hosts == ["93.184.215.14"]


async def test_an_akool_on_this_machine_may_have_its_results_here(target: Path) -> None:
    assert await fetch(whole, target, "http://127.0.0.1/video.mp4", trust_private=True) == VIDEO


async def test_a_server_that_compresses_gives_the_same_file(target: Path) -> None:
    def compress(request: httpx.Request) -> httpx.Response:
        if "gzip" not in request.headers["Accept-Encoding"]:
            return whole(request)
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=streamed(gzip.compress(VIDEO)))

    assert await fetch(compress, target) == VIDEO


async def test_a_result_that_fails_at_first_is_fetched_until_it_is_whole(tmp_path: Path) -> None:
    """A missing file, a web page, a file that breaks off: each is tried again, and nothing is paid twice."""
    clock, akool = TurnableClock(), Akool(renderer=render_cheaply)
    akool.fail("video", http_status=404)
    for body in (b"<h1>Soon</h1>", tiny_mp4()[:-500]):
        akool.faults.append(Fault("video", Response(body, media_type="video/mp4")))
    async with world(tmp_path, akool=akool, clock=clock) as here:
        chat = await ask_for_video(here)
        video = await passing(here, clock, chat, video_in(chat))
        job = await job_in(here, chat, State.DELIVERED)

    assert video.file is not None
    assert video.file.data == tiny_mp4()
    assert len(akool.creates) == 1
    assert sum(call.name == "video" for call in akool.calls) == 4
    assert job.video_key is not None


async def test_where_a_result_is_gone_akool_is_asked_where_it_is_now(tmp_path: Path) -> None:
    """The address that it gave first need not be the one that works."""
    clock, akool = TurnableClock(), Akool(renderer=render_cheaply)
    async with world(tmp_path, akool=akool, clock=clock) as here:
        gone = {"_id": "x", "video_status": 3, "video": f"{akool.root_url}/gone.mp4"}
        akool.faults.append(Fault("infobymodelid", JSONResponse({"code": 1000, "msg": "OK", "data": gone})))
        akool.fail("infobymodelid", http_status=500, when=lambda _: any(c.name == "video" for c in akool.calls))
        chat = await ask_for_video(here)
        video = await passing(here, clock, chat, video_in(chat))

    assert video.video is not None
    assert [call.parameters["file_name"] for call in akool.calls if call.name == "video"][:2] == ["gone", "gone"]


async def test_a_result_that_drips_is_given_up_for_now(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps every single read alive, but no worker for ever."""
    monkeypatch.setattr("bot.results._LONGEST_SECONDS", 0.01)  # a constant, so that nobody waits half an hour

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0)

    with pytest.raises(ResultUnavailable, match="too slowly"):
        await fetch(lambda _: httpx.Response(200, content=drip()), target)


async def test_a_result_that_never_comes_is_given_up_after_its_seven_days(tmp_path: Path) -> None:
    clock, akool = TurnableClock(), Akool(renderer=render_cheaply)
    akool.fail("video", http_status=404, times=1000)
    async with world(tmp_path, akool=akool, clock=clock) as here:
        chat = await ask_for_video(here)
        await passing(here, clock, chat, job_in(here, chat, State.SAVING))
        clock.turn(seconds=7 * 24 * 3600)
        await passing(here, clock, chat, says(chat, "could not fetch it"))
        job = await job_in(here, chat, State.FAILED)

    assert (job.reason, job.paid) == ("result_lost", 1)
