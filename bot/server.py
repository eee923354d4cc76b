"""Uvicorn inside a loop that is not its own, with a limit on who may hold how many connections, and for how long."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from bot.addresses import Neighbourhood, household, parsed

_GRACE_SECONDS = 3


@dataclass(frozen=True)
class Lobby:
    """Who holds connections. Our own proxies may hold as many as there are, since everybody comes through them."""

    neighbourhood: Neighbourhood
    most: int = 200
    most_per_peer: int = 32
    head_seconds: float = 10
    """How long a request's head may take, and what still comes after an answer."""
    stall_seconds: float = 60
    """How long somebody may leave what we send unread; uvicorn holds 64 kB back."""
    _held: Counter[str] = field(default_factory=Counter)

    def enter(self, peer: str | None) -> str | None:
        """Let a connection in, under the name that it has to leave with; None where there are too many."""
        address = parsed(peer)
        name = household(address)
        full = self._held.total() >= self.most
        if full or (self._held[name] >= self.most_per_peer and not self.neighbourhood.trusts(address)):
            return None
        self._held[name] += 1
        return name

    def leave(self, name: str) -> None:
        self._held[name] -= 1
        if not self._held[name]:
            del self._held[name]


class _Config(uvicorn.Config):
    lobby: Lobby


class _Protocol(H11Protocol):
    """Turns connections away that are too many, and closes those that let us wait."""

    config: _Config

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._lobby = self.config.lobby
        self._name: str | None = None
        self._waiting: asyncio.TimerHandle | None = None
        self._stalling: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        peer = transport.get_extra_info("peername")
        self._name = self._lobby.enter(peer[0] if peer else None)
        if self._name is None:
            self.transport = transport
            transport.abort()
            return
        super().connection_made(transport)
        self._mind_time()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._name is not None:
            self._lobby.leave(self._name)
        for timer in (self._waiting, self._stalling):
            if timer is not None:
                timer.cancel()

    def handle_events(self) -> None:
        super().handle_events()
        self._mind_time()

    def send_400_response(self, msg: str) -> None:
        """Called where what comes is no HTTP any more, which may be in the middle of a request that is being answered.

        uvicorn says so in any case, and then stumbles over that answer, or over this one.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalling = self.loop.call_later(self._lobby.stall_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalling is not None:
            self._stalling.cancel()

    def _mind_time(self) -> None:
        """While no request is being answered: what comes then, or does not, is a head, or what nobody waits for."""
        is_our_turn = self.cycle is not None and not self.cycle.response_complete
        if not is_our_turn and self._waiting is None:
            self._waiting = self.loop.call_later(self._lobby.head_seconds, self.transport.abort)
        elif is_our_turn and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the program's business."""
        yield


@asynccontextmanager
async def serving(application: ASGIApp, *, host: str, port: int, lobby: Lobby | None = None) -> AsyncIterator[str]:
    """Serve until the end of the block; gives the root URL, with the port that was found where `port` is 0.

    Raises `OSError` where the address can't be listened on.
    """
    config = _Config(
        application,
        host=host,
        port=port,
        http=_Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        log_level="error",  # it warns of every request that is no HTTP, and anybody can send those
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=16 << 10,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    config.lobby = lobby or Lobby(Neighbourhood(()))
    listening = listen(host, port)
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]), name="web")
    try:
        yield f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


def listen(host: str, port: int) -> socket.socket:
    """Bind here, since uvicorn would leave the program where it can't.

    TCP is named, since asyncio turns Nagle's delays off only then; they cost 40 ms an answer.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        error.filename = f"HOST:PORT {host}:{port}"
        raise
    return listener
