"""At the public port's door: strangers may be wrong for a while, then they have to wait.

Whoever shows a genuine secret (the webhook's, a media URL's signature, the token of a create call) gets an answer that
is no refusal, and is never counted. What is refused draws from the rate of the address that it came from, and from one
that all share. What comes from a proxy of ours that does not say for whom is not counted either: with one rate for
everybody, one stranger could shut AKOOL out.
"""

import math

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.addresses import Neighbourhood, household
from bot.clock import Clock
from bot.patience import SECOND_MS
from storage.rates import OwnRates, Rate

_REFUSALS = frozenset({400, 401, 403, 404, 405, 408, 410, 413})
_ASKS_DATABASE = ("/akool/", "/readyz")  # so strangers who have to wait are turned away before
_FOR_ANYBODY = "/readyz"  # counted though it is answered, since each answer is a write
_ALL_STRANGERS = Rate("strangers", every_ms=50, burst=600)


def _rate_of(stranger: str) -> Rate:
    return Rate(f"stranger {stranger}", every_ms=500, burst=120)


class Doorman:
    """Wraps the web application."""

    def __init__(self, application: ASGIApp, clock: Clock, neighbourhood: Neighbourhood) -> None:
        self._application = application
        self._neighbourhood = neighbourhood
        self._rates = OwnRates(clock.now)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stranger = self._stranger(scope)
        if stranger is None:
            await self._application(scope, receive, send)
            return
        rates = (_ALL_STRANGERS, _rate_of(stranger))
        wait_ms = self._rates.wait_ms(rates)
        if wait_ms and scope["path"].startswith(_ASKS_DATABASE):
            await _too_many(wait_ms)(scope, receive, send)
            return
        is_turned_away = False

        async def judge(message: Message) -> None:
            nonlocal is_turned_away
            counts = message.get("status") in _REFUSALS or scope["path"] == _FOR_ANYBODY
            if message["type"] == "http.response.start" and counts and (wait_ms := await self._rates.take(rates)):
                is_turned_away = True
                await _too_many(wait_ms)(scope, receive, send)
            if not is_turned_away:
                await send(message)

        await self._application(scope, receive, judge)

    def _stranger(self, scope: Scope) -> str | None:
        peer = scope["client"][0] if scope["client"] else None
        nearest = self._neighbourhood.nearest_stranger(peer, Headers(scope=scope).getlist("X-Forwarded-For"))
        return None if self._neighbourhood.trusts(nearest) else household(nearest)


def _too_many(wait_ms: int) -> PlainTextResponse:
    headers = {"Retry-After": str(math.ceil(wait_ms / SECOND_MS))}
    return PlainTextResponse("too many\n", status_code=429, headers=headers)
