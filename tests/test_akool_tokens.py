"""The Bearer token that is kept: fetched once, for all who wait, and in time."""

import asyncio
import base64
import gc
import json
import time

import pytest

from akool import NotSent
from akool.tokens import Tokens


def jwt(*, expires_in_seconds: float) -> str:
    claims = json.dumps({"exp": int(time.time() + expires_in_seconds)}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.x"


class Issuer:
    """Hands out the tokens it was given, in order, whenever its gate is open."""

    def __init__(self, *tokens: str | Exception) -> None:
        self.tokens = list(tokens)
        self.gate = asyncio.Event()
        self.gate.set()

    async def fetch(self) -> str:
        token = self.tokens.pop(0)
        await self.gate.wait()
        if isinstance(token, Exception):
            raise token
        return token


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("opaque", "opaque"),
        (jwt(expires_in_seconds=3600), None),
        (jwt(expires_in_seconds=30), "next"),
        (jwt(expires_in_seconds=-30), "next"),
    ],
    ids=["no JWT", "in an hour", "in half a minute", "expired"],  # the same in every process
)
async def test_a_token_is_kept_until_shortly_before_it_expires(first: str, then: str | None) -> None:
    """A JWT is renewed in its last minute; any other token lasts until AKOOL refuses it."""
    tokens = Tokens(Issuer(first, "next").fetch)

    assert [await tokens.get(), await tokens.get()] == [first, then or first]


async def test_all_who_wait_share_one_fetch() -> None:
    issuer = Issuer("one")
    tokens = Tokens(issuer.fetch)

    assert await asyncio.gather(*(tokens.get() for _ in range(10))) == ["one"] * 10


async def test_a_refused_token_is_replaced_once() -> None:
    """Who learns late that the old one is refused gets the new one, without another fetch."""
    tokens = Tokens(Issuer("old", "new").fetch)
    await tokens.get()

    assert await asyncio.gather(*(tokens.get(instead_of="old") for _ in range(5))) == ["new"] * 5
    assert await tokens.get(instead_of="old") == "new"


async def test_a_failure_is_shared_and_forgotten() -> None:
    """Ten callers cost one failed fetch, not ten in a row; the next caller tries again."""
    tokens = Tokens(Issuer(NotSent(), "one").fetch)
    outcomes = await asyncio.gather(*(tokens.get() for _ in range(10)), return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {NotSent}
    assert await tokens.get() == "one"


async def test_who_is_cancelled_does_not_take_the_token_from_others() -> None:
    """The fetch belongs to nobody."""
    issuer = Issuer("one")
    issuer.gate.clear()
    tokens = Tokens(issuer.fetch)
    first, second = asyncio.create_task(tokens.get()), asyncio.create_task(tokens.get())
    await asyncio.sleep(0)
    first.cancel()
    issuer.gate.set()

    assert await second == "one"
    assert first.cancelled()


async def test_a_fetch_that_fails_when_nobody_waits_any_more_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asked was cancelled; asyncio would complain of an exception that nobody has seen."""
    issuer = Issuer(NotSent("nobody there"))
    issuer.gate.clear()
    asking = asyncio.create_task(Tokens(issuer.fetch).get())
    while issuer.tokens:
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    issuer.gate.set()
    for _ in range(3):
        await asyncio.sleep(0)
    del asking
    gc.collect()

    assert not caplog.records
