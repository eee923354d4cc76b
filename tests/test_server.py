"""Connections: how many one may hold, and how long one may let us wait; with real sockets."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_network

import pytest
from starlette.types import Receive, Scope, Send

from bot import server
from bot.addresses import Neighbourhood
from bot.server import Lobby, serving
from journal import journal

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
NOBODY = Neighbourhood(())
LOOPBACK = Neighbourhood((ip_network("127.0.0.0/8"),))
SOON = 0.2

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def greet(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


class Guest:
    """Opens connections, and closes them in the end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def come(self, say: bytes = b"") -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(writer)
        writer.write(say)
        return reader, writer

    async def is_let_in(self) -> bool:
        try:
            reader, _ = await self.come(REQUEST)
            return (await reader.read(15)).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False

    async def leave(self) -> None:
        while self._writers:
            self._writers.pop().close()


@asynccontextmanager
async def guest_of(lobby: Lobby) -> AsyncIterator[Guest]:
    async with serving(greet, host="127.0.0.1", port=0, lobby=lobby) as url:
        guest = Guest(int(url.rpartition(":")[2]))
        try:
            yield guest
        finally:
            await guest.leave()


async def closed(reader: asyncio.StreamReader) -> bytes:
    """What came until the other side closed."""
    heard = b""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(10):
            while piece := await reader.read(1 << 16):
                heard += piece
    return heard


@pytest.mark.parametrize(
    ("neighbourhood", "most", "most_per_peer"), [(NOBODY, 100, 2), (NOBODY, 2, 100), (LOOPBACK, 2, 1)]
)
async def test_connections_that_are_too_many_are_turned_away_until_others_go(
    neighbourhood: Neighbourhood, most: int, most_per_peer: int
) -> None:
    """A peer's, or all together; our own proxy's only all together."""
    async with guest_of(Lobby(neighbourhood, most=most, most_per_peer=most_per_peer)) as guest:
        assert [await guest.is_let_in() for _ in range(4)] == [True, True, False, False]
        await guest.leave()
        async with asyncio.timeout(10):
            while not await guest.is_let_in():
                await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        (b"", 0),
        (b"GET / HT", 0),
        (b"GET / HTTP/1.1\r\nHost: x\r\nSlow: ", 0),
        (REQUEST + REQUEST + b"GET /", 2),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc", 1),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", 1),
    ],
    ids=["nothing", "a line", "a header", "after others", "a body that nobody wants", "chunks"],
)
async def test_who_drips_is_not_waited_for(said: bytes, answers: int) -> None:
    """Nor does a byte now and then win more time."""
    async with guest_of(Lobby(NOBODY, head_seconds=SOON)) as guest:
        reader, writer = await guest.come(said)

        async def drip() -> None:
            while not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(SOON / 10)

        dripping = asyncio.create_task(drip())
        heard = await closed(reader)
        dripping.cancel()
    assert heard.count(b"200 OK") == answers


async def test_who_leaves_answers_unread_is_not_waited_for() -> None:
    """Answers larger than all buffers, and nobody who reads: the connection does not stay for ever."""
    ended = asyncio.Event()

    async def tell(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": bytes(1 << 16), "more_body": True})
        ended.set()

    async with serving(tell, host="127.0.0.1", port=0, lobby=Lobby(NOBODY, stall_seconds=SOON)) as url:
        guest = Guest(int(url.rpartition(":")[2]))
        await guest.come(REQUEST)
        async with asyncio.timeout(10):
            await ended.wait()
        await guest.leave()


async def test_an_answer_that_outlasts_the_stop_needs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large video on its way to a slow fetcher is cut short, and asked for again: that is no error."""
    monkeypatch.setattr(server, "_GRACE_SECONDS", SOON)

    async def go_on_and_on(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"...", "more_body": True})
        await asyncio.Event().wait()

    with journal() as log:
        async with serving(go_on_and_on, host="127.0.0.1", port=0) as url:
            guest = Guest(int(url.rpartition(":")[2]))
            reader, _ = await guest.come(REQUEST)
            await reader.readuntil(b"...")
        await closed(reader)
        await guest.leave()

    assert [line["level"] for line in log.lines] == ["warning", "warning"]


async def test_an_answer_takes_the_time_that_it_takes() -> None:
    """The limit is on a request's head, not on what is done about it."""
    asked, answer = asyncio.Event(), asyncio.Event()

    async def think(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await answer.wait()
        await greet(scope, receive, send)

    async with serving(think, host="127.0.0.1", port=0, lobby=Lobby(NOBODY, head_seconds=0.05)) as url:
        guest = Guest(int(url.rpartition(":")[2]))
        reader, _ = await guest.come(REQUEST)
        await asked.wait()
        asyncio.get_running_loop().call_later(0.15, answer.set)
        assert b"200 OK" in await reader.readuntil(b"hi")
        await guest.leave()


@pytest.mark.parametrize("answered", [False, True])
async def test_a_body_that_is_no_http_ends_the_connection_and_troubles_nobody(
    *, answered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Else anybody could fill the log with errors."""
    head, nonsense = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"nonsense\r\n"
    async with guest_of(Lobby(NOBODY)) as guest:
        reader, writer = await guest.come(head if answered else head + nonsense)
        if answered:
            assert b"200 OK" in await reader.readuntil(b"hi")
            writer.write(nonsense)
        heard = await closed(reader)
    assert heard.count(b"400 Bad Request") == (not answered)
    assert not [record.message for record in caplog.records if record.levelno >= logging.ERROR]


async def test_an_address_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"HOST:PORT 127.0.0.1:{port}"):
            async with serving(greet, host="127.0.0.1", port=port, lobby=Lobby(NOBODY)):
                pass
