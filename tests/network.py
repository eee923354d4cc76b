"""The network between the service and the stand-ins: requests in this process, lost connections included."""

import asyncio
import json
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from bot.app import Service
from bot.sandbox import Akool, BotApi
from simulated_media import Vault
from storage.objects import content_type
from virtual_loop import Process

TELEGRAM, AKOOL, BOT = "telegram.test", "localhost", "127.0.0.1"
_OK = 1000  # AKOOL's code


class _HungUp(Exception):
    """The connection was closed instead of an answer."""


@dataclass(eq=False)
class Incarnation:
    """The service, from one start to its end."""

    process: Process
    death: asyncio.Future[None]
    web: ASGIApp | None = None
    start: asyncio.Task[None] | None = None
    service: Service | None = None

    @property
    def is_alive(self) -> bool:
        return not self.death.done()

    def thaw(self) -> None:
        """Go on, unless it has died meanwhile."""
        if self.is_alive:
            self.process.go_on()

    @property
    def runs(self) -> bool:
        return self.is_alive and not self.process.is_stopped


class Network:
    """Brings requests to whom they are for. Servers outlive their clients; a client learns that its server died.

    `bots` are the incarnations so far: the latest that is alive gets what is for the bot. `refused` are the tokens of
    the create calls that AKOOL refused.
    """

    def __init__(self, telegram: BotApi, akool: Akool, vault: Vault, outside: Context) -> None:
        self.bots: list[Incarnation] = []
        self.refused: set[str] = set()
        self._apps = {TELEGRAM: telegram.app, AKOOL: akool.app}
        self._vault = vault
        self._outside = outside
        telegram.root_url, akool.root_url = f"http://{TELEGRAM}", f"http://{AKOOL}"

    async def carry(self, request: httpx.Request) -> httpx.Response:
        if app := self._apps.get(request.url.host):
            work = asyncio.get_running_loop().create_task(self._serve(app, request), context=self._outside)
            return await _answer(request, work, [])
        bot = next((bot for bot in reversed(self.bots) if bot.is_alive and bot.web), None)
        if bot is None or bot.web is None:
            raise httpx.ConnectError("nobody listens")
        if request.url.path.startswith("/media/"):
            return self._media(request.url.path.removeprefix("/media/"))
        return await _answer(request, bot.process.start(_ask(bot.web, request)), [bot.death])

    async def _serve(self, app: ASGIApp, request: httpx.Request) -> httpx.Response:
        response = await _ask(app, request)
        if request.url.path.endswith("/createbytalkingphoto"):
            body = await response.aread()
            if response.headers["content-type"] == "application/json" and json.loads(body)["code"] != _OK:
                self.refused.add(json.loads(request.content)["webhookUrl"].rpartition("/")[2])
        return response

    def _media(self, key: str) -> httpx.Response:
        """Stand in for the service's own media route, which reads files in threads that are not the loop's."""
        if key not in self._vault.written:
            return httpx.Response(404)
        headers = {"Content-Type": content_type(key)}
        return httpx.Response(200, headers=headers, content=self._vault.path(key).read_bytes())


async def _answer(
    request: httpx.Request, work: asyncio.Task[httpx.Response], ends: list[asyncio.Future[Any]]
) -> httpx.Response:
    timeout = request.extensions["timeout"]["read"]
    waits: list[asyncio.Future[Any]] = [work, *ends]
    done, _ = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    if not done:
        raise httpx.ReadTimeout("no answer")
    if work not in done:
        raise httpx.ReadError("the server died")
    try:
        return work.result()
    except _HungUp:
        raise httpx.RemoteProtocolError("hung up") from None


async def _ask(app: ASGIApp, request: httpx.Request) -> httpx.Response:
    async def with_extensions(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {"sandbox.hang_up": _hang_up}}, receive, send)

    return await httpx.ASGITransport(with_extensions).handle_async_request(request)


async def _hang_up() -> Any:
    raise _HungUp
