"""Runs an ASGI app on a loopback port inside the current event loop."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from bot.loops import end
from bot.server import listen

_HANG_UP = "sandbox.hang_up"


@asynccontextmanager
async def serve(app: ASGIApp, *, port: int = 0) -> AsyncIterator[str]:
    """Serve `app` over real HTTP until the block is left; gives its root URL, with no slash at the end.

    Port 0 takes a free one. Leaving the block drops whatever is still under way, long polls included.
    """
    with listen("127.0.0.1", port) as listener:
        server = _Server(app)
        await server.start(listener)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            await server.stop()


class HangUp(Response):
    """An answer that never comes: the connection is closed instead."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        await scope["extensions"][_HANG_UP]()


class _Server(uvicorn.Server):
    """uvicorn without its main loop, which would take the process's signals and wake ten times a second."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
        )
        config.load()
        super().__init__(config)
        self.lifespan = config.lifespan_class(config)

    async def start(self, listener: socket.socket) -> None:
        await self.startup(sockets=[listener])

    async def stop(self) -> None:
        for listener in self.servers:
            listener.close()
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # one turn of the loop, in which the connections notice
        await end(*self.server_state.tasks)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[_HANG_UP] = partial(self._hang_up, scope)
        with suppress(asyncio.CancelledError):  # only `stop` cancels
            await self._app(scope, receive, send)

    async def _hang_up(self, scope: Scope) -> None:
        for connection in tuple(self.server_state.connections):
            if getattr(connection, "scope", None) is scope:
                connection.transport.abort()
        await asyncio.sleep(0)  # so that uvicorn knows of it before the app returns with nothing said
