"""What the local Telegram and the local AKOOL share: being served, faults on order, a log of calls, and waiting."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, TypeVar

import httpx
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import BaseRoute

from bot.sandbox.server import HangUp, serve

Found = TypeVar("Found")
_OUTGOING_TIMEOUT_SECONDS = 30


@dataclass(eq=False)
class Call:
    """One request as it came in: which, with what, and when (milliseconds since the epoch)."""

    name: str
    parameters: dict[str, Any]
    at_ms: int
    headers: dict[str, str] = field(repr=False)


def always(_call: Call) -> bool:
    return True


@dataclass
class Fault:
    """Something that goes wrong with requests whose name fits the pattern `name`, the next `times` times.

    `response` is then given instead of the true one; the request takes effect all the same where `acts` is set.
    """

    name: str
    response: Response
    acts: bool = False
    times: int = 1
    when: Callable[[Call], bool] = always

    def strikes(self, call: Call) -> bool:
        if self.times <= 0 or not fnmatchcase(call.name, self.name) or not self.when(call):
            return False
        self.times -= 1
        return True


class StandIn:
    """A vendor's server, run here."""

    def __init__(self, routes: list[BaseRoute], now: Callable[[], float]) -> None:
        self.app = Starlette(routes=routes)
        self.now = now
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.changed = asyncio.Condition()
        self.http = httpx.AsyncClient(verify=_tls(), trust_env=False, timeout=_OUTGOING_TIMEOUT_SECONDS)
        self.root_url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serving(self, *, port: int = 0) -> AsyncIterator[str]:
        """Serve over HTTP until the block is left; gives the root URL. What runs in the background ends with it."""
        async with self.http, serve(self.app, port=port) as self.root_url:
            try:
                yield self.root_url
            finally:
                await self._stop()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the requests, until it ends or we do."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def now_ms(self) -> int:
        return int(self.now() * 1000)

    # --- faults ---

    def drop(self, name: str, *, before: bool, times: int = 1, when: Callable[[Call], bool] = always) -> None:
        """Close the connection of such requests, before or after they have taken effect, without an answer."""
        self.faults.append(Fault(name, HangUp(), acts=not before, times=times, when=when))

    async def answer(self, call: Call, act: Callable[[], Coroutine[Any, Any, Response]]) -> Response:
        """Log a call and carry it out, unless a fault was ordered for it."""
        self.calls.append(call)
        await self.announce()
        fault = next((fault for fault in self.faults if fault.strikes(call)), None)
        if fault is None:
            response = await act()
        else:
            if fault.acts:
                await act()
            response = fault.response
        response.headers["Date"] = formatdate(self.now(), usegmt=True)
        return response

    # --- waiting ---

    async def announce(self) -> None:
        """Let everybody who waits look again."""
        async with self.changed:
            self.changed.notify_all()

    async def wait_until(self, look: Callable[[], Found | None], *, timeout_seconds: float = 10) -> Found:
        """Wait for `look` to find something, and return it; raises `TimeoutError`. It looks after each change."""
        async with asyncio.timeout(timeout_seconds), self.changed:
            while not (found := look()):
                await self.changed.wait()
            return found

    async def wait_for_call(
        self, name: str, *, when: Callable[[Call], bool] = always, timeout_seconds: float = 10
    ) -> Call:
        """The first call of that name, made already or yet to come. Raises `TimeoutError`."""

        def look() -> Call | None:
            return next((call for call in self.calls if call.name == name and when(call)), None)

        return await self.wait_until(look, timeout_seconds=timeout_seconds)


@cache
def _tls() -> ssl.SSLContext:
    """One for all stand-ins of a test run: making one costs 50 ms."""
    return httpx.create_ssl_context()
