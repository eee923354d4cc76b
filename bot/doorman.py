"""At the public port's door: strangers may be wrong for a while, then they have to wait.

Whoever shows a genuine secret (the webhook's, a media URL's signature, the token of a create call) gets an answer that
is no refusal, and is never counted. What is refused draws from a bucket of the address that it came from, and from one
that all share. What comes from a proxy of ours that does not say for whom is not counted either: with one bucket for
everybody, one stranger could shut AKOOL out.
"""

import math

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.addresses import Neighbourhood, household
from bot.clock import Clock
from bot.patience import SECOND_MS

_REFUSALS = frozenset({400, 401, 403, 404, 405, 408, 410, 413})
_ASKS_DATABASE = "/akool/"  # only there does it take the database to tell a stranger


class Buckets:
    """Token buckets by name. Each is one number, the time when it is full again; those that are full take no room."""

    def __init__(self, clock: Clock, *, burst: int, per_second: float, most: int = 4096) -> None:
        self._clock = clock
        self._interval_ms = SECOND_MS / per_second
        self._capacity_ms = burst * self._interval_ms
        self._most = most
        self._full_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._full_at)

    def wait_ms(self, name: str) -> float:
        """How long it takes until the bucket holds a token; 0 where it does."""
        return max(0, self._filling_ms(name) + self._interval_ms - self._capacity_ms)

    def draw(self, name: str) -> None:
        """Take a token out, if there is one."""
        filling_ms = min(self._filling_ms(name) + self._interval_ms, self._capacity_ms)
        self._full_at.pop(name, None)  # so that the order is that of the last draws
        self._full_at[name] = self._clock.now() + filling_ms
        if len(self._full_at) > self._most:
            del self._full_at[next(iter(self._full_at))]

    def _filling_ms(self, name: str) -> float:
        # No more than an empty one takes: the system's clock may have been put back since.
        return min(max(0, self._full_at.get(name, 0) - self._clock.now()), self._capacity_ms)


class Doorman:
    """Wraps the web application."""

    def __init__(self, application: ASGIApp, clock: Clock, neighbourhood: Neighbourhood) -> None:
        self._application = application
        self._neighbourhood = neighbourhood
        self._per_address = Buckets(clock, burst=120, per_second=2)
        self._overall = Buckets(clock, burst=600, per_second=20, most=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = self._name(scope)
        if name is None:
            await self._application(scope, receive, send)
            return
        if self._wait_ms(name) and scope["path"].startswith(_ASKS_DATABASE):
            await self._too_many(name)(scope, receive, send)
            return
        is_turned_away = False

        async def judge(message: Message) -> None:
            nonlocal is_turned_away
            if message["type"] == "http.response.start" and message["status"] in _REFUSALS:
                if self._wait_ms(name):
                    is_turned_away = True
                    await self._too_many(name)(scope, receive, send)
                else:
                    self._per_address.draw(name)
                    self._overall.draw("")
            if not is_turned_away:
                await send(message)

        await self._application(scope, receive, judge)

    def _name(self, scope: Scope) -> str | None:
        peer = scope["client"][0] if scope["client"] else None
        nearest = self._neighbourhood.nearest_stranger(peer, Headers(scope=scope).getlist("X-Forwarded-For"))
        return None if self._neighbourhood.trusts(nearest) else household(nearest)

    def _wait_ms(self, name: str) -> float:
        return max(self._per_address.wait_ms(name), self._overall.wait_ms(""))

    def _too_many(self, name: str) -> PlainTextResponse:
        seconds = math.ceil(self._wait_ms(name) / SECOND_MS)
        return PlainTextResponse("too many\n", status_code=429, headers={"Retry-After": str(seconds)})
