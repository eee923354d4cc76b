"""The wire: headers, connections, time-outs, and what a failure of each says about our credits."""

import asyncio
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

import akool
from akool import (
    Accepted,
    AkoolError,
    AnswerLost,
    ApiKey,
    Client,
    ClientCredentials,
    InvalidInput,
    InvalidToken,
    MalformedAnswer,
    NotSent,
    Refused,
    ServerError,
)
from akool.client import DEFAULT_BASE_URL

SAMPLES = Path(__file__).parent / "samples" / "akool"
CREATED = (SAMPLES / "created.json").read_bytes()
PROCESSING = (SAMPLES / "processing.json").read_bytes()
KEY = ApiKey("k3y")
CREDENTIALS = ClientCredentials("cl13nt", "s3cret")
REFUSED_TOKEN = {"code": 1101, "msg": "The request token has expired"}

Answer = bytes | dict[str, Any] | Exception


class FakeAkool:
    """A queue of answers for each path's last word, and all requests in order."""

    def __init__(self, **answers: list[Answer]) -> None:
        self.answers = answers
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers[request.url.path.rpartition("/")[2]].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(200, content=answer if isinstance(answer, bytes) else json.dumps(answer))

    def client(self, auth: ApiKey | ClientCredentials = KEY, *, base_url: str = DEFAULT_BASE_URL) -> Client:
        return Client(httpx.AsyncClient(transport=httpx.MockTransport(self)), auth, base_url=base_url)

    @property
    def paths(self) -> list[str]:
        return [request.url.path.rpartition("/")[2] for request in self.requests]


async def create(client: Client) -> akool.Video:
    return await client.create_talking_photo(talking_photo_url="https://x/p.jpg", audio_url="https://x/v.mp3")


async def failure(attempt: Awaitable[object]) -> AkoolError:
    with pytest.raises(AkoolError) as caught:
        await attempt
    return caught.value


async def test_create_over_the_api_key() -> None:
    """One header, and the body of the manual page."""
    fake = FakeAkool(createbytalkingphoto=[CREATED])
    video = await create(fake.client())
    [request] = fake.requests

    assert video.id == "64dd90f9f0b6684651e90d60"
    assert str(request.url) == "https://openapi.akool.com/api/open/v3/content/video/createbytalkingphoto"
    assert json.loads(request.content) == {"talking_photo_url": "https://x/p.jpg", "audio_url": "https://x/v.mp3"}
    assert request.headers["x-api-key"] == "k3y"
    assert "authorization" not in request.headers


async def test_the_bearer_is_fetched_once_and_goes_alone() -> None:
    """Ten questions at once share one getToken, and none carries the API key's header."""
    fake = FakeAkool(getToken=[{"code": 1000, "token": "t0ken"}], infobymodelid=[PROCESSING] * 10)
    client = fake.client(CREDENTIALS)
    await asyncio.gather(*(client.get_video("64dd") for _ in range(10)))
    login, *questions = fake.requests

    assert json.loads(login.content) == {"clientId": "cl13nt", "clientSecret": "s3cret"}
    assert {request.headers["authorization"] for request in questions} == {"Bearer t0ken"}
    assert questions[0].url.params["video_model_id"] == "64dd"
    assert not any("x-api-key" in request.headers for request in fake.requests)
    assert fake.paths.count("getToken") == 1


async def test_a_refused_token_is_fetched_anew_once_and_the_create_repeated() -> None:
    """1101 is said before anything is accepted."""
    fake = FakeAkool(
        getToken=[{"code": 1000, "token": "old"}, {"code": 1000, "token": "new"}],
        createbytalkingphoto=[REFUSED_TOKEN, CREATED],
    )
    await create(fake.client(CREDENTIALS))

    assert fake.paths == ["getToken", "createbytalkingphoto"] * 2
    assert fake.requests[-1].headers["authorization"] == "Bearer new"


async def test_a_token_refused_twice_is_the_operators_matter() -> None:
    fake = FakeAkool(getToken=[{"code": 1000, "token": "x"}] * 2, createbytalkingphoto=[REFUSED_TOKEN] * 2)
    error = await failure(create(fake.client(CREDENTIALS)))

    assert (type(error), error.accepted, len(fake.requests)) == (InvalidToken, Accepted.NO, 4)


async def test_a_refused_key_is_not_tried_again() -> None:
    fake = FakeAkool(createbytalkingphoto=[REFUSED_TOKEN])

    assert type(await failure(create(fake.client()))) is InvalidToken


@pytest.mark.parametrize("broken", [httpx.ReadTimeout(""), {"code": 2001}, b"<html>", {"code": 1101}])
async def test_without_a_token_nothing_was_accepted(broken: Answer) -> None:
    """However getToken failed, the create call was never made."""
    fake = FakeAkool(getToken=[broken])
    error = await failure(create(fake.client(CREDENTIALS)))

    assert error.accepted is Accepted.NO
    assert fake.paths == ["getToken"]


@pytest.mark.parametrize(
    ("broken", "kind", "accepted"),
    [
        (httpx.ConnectTimeout(""), NotSent, Accepted.NO),
        (httpx.PoolTimeout(""), NotSent, Accepted.NO),
        (httpx.ConnectError(""), NotSent, Accepted.NO),
        (httpx.ProxyError(""), NotSent, Accepted.NO),
        (httpx.WriteTimeout(""), AnswerLost, Accepted.UNKNOWN),
        (httpx.ReadTimeout(""), AnswerLost, Accepted.UNKNOWN),
        (httpx.WriteError(""), AnswerLost, Accepted.UNKNOWN),
        (httpx.ReadError(""), AnswerLost, Accepted.UNKNOWN),
        (httpx.RemoteProtocolError(""), AnswerLost, Accepted.UNKNOWN),
        (httpx.LocalProtocolError(""), AnswerLost, Accepted.UNKNOWN),
        (httpx.DecodingError(""), AnswerLost, Accepted.UNKNOWN),
        (ssl.SSLError(1, "bad record"), AnswerLost, Accepted.UNKNOWN),
        (TimeoutError(), AnswerLost, Accepted.UNKNOWN),
    ],
)
async def test_where_the_network_dies(broken: Exception, kind: type[AkoolError], accepted: Accepted) -> None:
    """Before the request is out nothing was accepted; from then on nobody knows. A question never costs anything."""
    fake = FakeAkool(createbytalkingphoto=[broken], infobymodelid=[broken])
    created, asked = await failure(create(fake.client())), await failure(fake.client().get_video("64dd"))

    assert (type(created), created.accepted) == (kind, accepted)
    assert (type(asked), asked.accepted, asked.retryable) == (kind, Accepted.NO, True)


@pytest.mark.parametrize("video_id", ["\ud800", "x" * 100_000])
async def test_what_fits_in_no_request_is_refused_here(video_id: str) -> None:
    assert type(await failure(FakeAkool().client().get_video(video_id))) is InvalidInput


@pytest.mark.parametrize("root", ["http://h:1/root", "http://h:1/root/"])
async def test_the_balance_at_another_address(root: str) -> None:
    fake = FakeAkool(info=[{"code": 1000, "msg": "OK", "data": {"credit": 12.5}}])

    assert await fake.client(base_url=root).get_credit() == 12.5
    assert str(fake.requests[0].url) == "http://h:1/root/api/open/v3/faceswap/quota/info"


def test_secrets_stay_out_of_sight() -> None:
    """Neither way of authorization shows what it holds, and what no header can carry is refused at once."""
    assert (repr(KEY), repr(CREDENTIALS)) == ("ApiKey()", "ClientCredentials()")
    for wrong in ("", "two words", "line\n", "kéy"):
        with pytest.raises(ValueError, match="one word of ASCII"):
            ApiKey(wrong)


# --- over real connections ---

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter


@asynccontextmanager
async def listening(serve: Callable[[Reader, Writer], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that does `serve` to each connection and then closes it; gives its root URL."""
    serving: set[asyncio.Task[None]] = set()

    async def connected(reader: Reader, writer: Writer) -> None:
        with closing(writer), suppress(ConnectionResetError):
            await serve(reader, writer)

    def accept(reader: Reader, writer: Writer) -> None:
        serving.add(asyncio.create_task(connected(reader, writer)))

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*serving)


async def request_of(reader: Reader) -> bytes:
    """The head and the body of the next request; empty at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = re.search(rb"(?i)content-length: (\d+)", head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


def response(body: bytes, *, status: str = "200 OK", **headers: str) -> bytes:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@asynccontextmanager
async def impatient(root: str) -> AsyncIterator[Client]:
    """A client whose read times out at once."""
    async with httpx.AsyncClient(timeout=httpx.Timeout(5, read=0.05)) as http:
        yield Client(http, KEY, base_url=root)


async def test_each_create_call_has_a_connection_of_its_own() -> None:
    """Questions share a kept-alive one, which AKOOL may close at any time; a create call must not meet that."""
    connections: list[list[bytes]] = []

    async def serve(reader: Reader, writer: Writer) -> None:
        connections.append(verbs := [])
        while request := await request_of(reader):
            verbs.append(request.split()[0])
            writer.write(response(CREATED if request.startswith(b"POST") else PROCESSING))

    async with listening(serve) as root, akool.open_client(KEY, base_url=f"{root}/") as client:
        for _ in range(2):
            await create(client)
            await client.get_video("64dd")

    assert sorted(connections) == [[b"GET", b"GET"], [b"POST"], [b"POST"]]


async def test_nobody_listens() -> None:
    """A refused connection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        root = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with impatient(root) as client:
        error = await failure(create(client))

    assert (type(error), error.accepted) == (NotSent, Accepted.NO)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", response(CREATED)[:-9], b"\x00\x01\x02\r\n\r\n"]
)
async def test_the_connection_breaks_after_sending(answer: bytes) -> None:
    """Before, within and after the head of the answer, or with nonsense."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await request_of(reader)
        writer.write(answer)

    async with listening(serve) as root, impatient(root) as client:
        error = await failure(create(client))

    assert (type(error), error.accepted) == (AnswerLost, Accepted.UNKNOWN)


async def test_no_answer_comes() -> None:
    """A read time-out, really."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await request_of(reader)
        await reader.read()

    async with listening(serve) as root, impatient(root) as client:
        error = await failure(create(client))

    assert (type(error), error.accepted) == (AnswerLost, Accepted.UNKNOWN)


@pytest.mark.parametrize(
    ("answer", "kind", "accepted"),
    [
        (response(b"<html>"), MalformedAnswer, Accepted.UNKNOWN),
        (response(b"", status="307 Temporary Redirect", Location="/elsewhere"), Refused, Accepted.NO),
        (response(b"<html>", status="502 Bad Gateway"), ServerError, Accepted.UNKNOWN),
    ],
)
async def test_answers_that_are_not_akools(answer: bytes, kind: type[AkoolError], accepted: Accepted) -> None:
    """A redirect is not followed, nothing is repeated: a create call goes out once."""
    requests = []

    async def serve(reader: Reader, writer: Writer) -> None:
        while request := await request_of(reader):
            requests.append(request)
            writer.write(answer)

    async with listening(serve) as root, akool.open_client(KEY, base_url=root) as client:
        error = await failure(create(client))

    assert (type(error), error.accepted, len(requests)) == (kind, accepted, 1)


async def test_an_endless_answer_is_cut() -> None:
    """It is no answer of AKOOL's, and is never kept in memory."""

    async def serve(reader: Reader, writer: Writer) -> None:
        await request_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            await writer.drain()

    async with listening(serve) as root, akool.open_client(KEY, base_url=root) as client:
        error = await failure(create(client))

    assert (type(error), error.accepted) == (MalformedAnswer, Accepted.UNKNOWN)


async def test_advice_to_wait_is_handed_on() -> None:
    async def serve(reader: Reader, writer: Writer) -> None:
        await request_of(reader)
        writer.write(response(b"", status="429 Too Many Requests", **{"Retry-After": "7"}))

    async with listening(serve) as root, akool.open_client(KEY, base_url=root) as client:
        error = await failure(create(client))

    assert (error.retry_after_seconds, error.accepted) == (7, Accepted.NO)
