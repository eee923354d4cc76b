"""Strangers may be wrong for a while, then they wait; whoever shows a genuine secret does not."""

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bot.addresses import NEARBY, Neighbourhood, networks
from bot.doorman import Doorman
from clocks import TurnableClock

BURST = 120
OVERALL = 600


class Door:
    """A doorman before an application that knows one secret, and counts how often it is asked."""

    def __init__(self) -> None:
        self.clock = TurnableClock()
        self.asked = 0
        application = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])
        self._doorman = Doorman(application, self.clock, Neighbourhood(networks(NEARBY)))
        self._http: dict[str, httpx.AsyncClient] = {}

    async def _answer(self, request: Request) -> Response:
        self.asked += 1
        return PlainTextResponse("", status_code=200 if request.headers.get("secret") == "genuine" else 404)

    async def knock(self, path: str = "/akool/x", *, peer: str = "203.0.113.7", **headers: str) -> httpx.Response:
        if peer not in self._http:
            transport = httpx.ASGITransport(self._doorman, client=(peer, 1))
            self._http[peer] = httpx.AsyncClient(transport=transport, base_url="http://bot.example")
        return await self._http[peer].get(path, headers={name.replace("_", "-"): of for name, of in headers.items()})

    async def knock_often(self, times: int, path: str = "/akool/x", **headers: str) -> set[int]:
        return {(await self.knock(path, **headers)).status_code for _ in range(times)}

    async def close(self) -> None:
        for http in self._http.values():
            await http.aclose()


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    yield door
    await door.close()


@pytest.mark.parametrize("path", ["/akool/x", "/telegram", "/media/1/x/y", "/nothing"])
async def test_a_stranger_who_is_wrong_too_often_has_to_wait(door: Door, path: str) -> None:
    assert await door.knock_often(BURST, path) == {404}
    answer = await door.knock(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")

    door.clock.turn(seconds=10)
    assert await door.knock_often(20, path) == {404}
    assert await door.knock_often(1, path) == {429}


async def test_whoever_has_to_wait_costs_no_look_up(door: Door) -> None:
    """Only the database knows the tokens of callbacks, so it isn't asked."""
    await door.knock_often(BURST + 50)
    assert door.asked == BURST


async def test_a_genuine_secret_opens_however_many_strangers_come(door: Door) -> None:
    assert await door.knock_often(2 * BURST, "/telegram", secret="genuine") == {200}
    for peer in range(OVERALL // BURST + 1):
        await door.knock_often(BURST, peer=f"198.51.100.{peer}")
    assert (await door.knock("/telegram")).status_code == 429, "the bucket that all share is empty"
    assert await door.knock_often(10, "/telegram", secret="genuine") == {200}
    assert await door.knock_often(10, "/media/1/x/y", secret="genuine") == {200}


async def test_strangers_are_told_apart_behind_our_own_proxy_only(door: Door) -> None:
    await door.knock_often(BURST, peer="10.0.0.1", X_Forwarded_For="198.51.100.1")
    assert await door.knock_often(1, peer="10.0.0.1", X_Forwarded_For="198.51.100.1") == {429}
    assert await door.knock_often(1, peer="10.0.0.1", X_Forwarded_For="198.51.100.2") == {404}

    await door.knock_often(BURST)
    assert await door.knock_often(1, X_Forwarded_For="198.51.100.3") == {429}


async def test_readiness_is_told_to_anybody_but_not_all_the_time(door: Door) -> None:
    """Each answer writes to the database; who watches it asks every few seconds."""
    assert await door.knock_often(BURST, "/readyz", secret="genuine") == {200}
    assert await door.knock_often(50, "/readyz", secret="genuine") == {429}
    assert door.asked == BURST


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1"])
async def test_where_a_proxy_does_not_say_for_whom_it_comes_nobody_is_counted(door: Door, peer: str) -> None:
    """With one bucket for all of them, a single stranger could shut AKOOL out."""
    assert await door.knock_often(2 * OVERALL, peer=peer) == {404}
