"""A balancer before several processes of the service, as simple as they come: whoever does not answer is passed over.

A stopped process accepts connections and never answers, so each has but a moment to do it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.sandbox import serve

_A_MOMENT_SECONDS = 1.5
_PASSED_ON = ("Content-Type", "X-Telegram-Bot-Api-Secret-Token")


class Balancer:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.roots: list[str] = []
        self._http = http

    async def answer(self, request: Request) -> Response:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        body = await request.body()
        for root in tuple(self.roots):
            try:
                answer = await self._http.request(
                    request.method, root + request.url.path, content=body, headers=headers
                )
            except httpx.HTTPError:
                if root in self.roots[:-1]:  # so that the next request need not wait for it too
                    self.roots.remove(root)
                    self.roots.append(root)
                continue
            return Response(answer.content, answer.status_code, media_type=answer.headers.get("Content-Type"))
        return Response(status_code=502)


@asynccontextmanager
async def balancing() -> AsyncIterator[tuple[Balancer, str]]:
    """Serve until the end of the block; gives the balancer, whose `roots` are to be filled, and its own root URL."""
    async with httpx.AsyncClient(timeout=_A_MOMENT_SECONDS, trust_env=False) as http:
        balancer = Balancer(http)
        application = Starlette(routes=[Route("/{path:path}", balancer.answer, methods=["GET", "HEAD", "POST"])])
        async with serve(application) as root_url:
            yield balancer, root_url
