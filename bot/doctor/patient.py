"""What the checks look at, and what earlier checks leave for later ones."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from bot.clock import Clock
from bot.config import Settings
from bot.patience import SECOND_MS
from storage.objects import MediaSigner, ObjectStore


class NotChecked(Exception):
    """The check needs something that does not work; the message says what."""


@dataclass(frozen=True)
class Probe:
    """An object put into the store for the time of the checks."""

    key: str
    content: bytes


@dataclass
class Patient:
    """`stack` closes what checks open for later ones; `skews`: by how many seconds others' clocks are ahead."""

    settings: Settings
    clock: Clock
    http: httpx.AsyncClient
    stack: AsyncExitStack
    skews: dict[str, float]
    listen_seconds: float  # how long to wait for another program that polls
    bot_runs: bool | None = None  # None: the database does not tell
    me: dict[str, Any] | None = None
    has_webhook: bool = False
    signer: MediaSigner | None = None
    store: ObjectStore | None = None
    probe: Probe | None = None
    is_fetched: bool = False


@asynccontextmanager
async def admitted(settings: Settings, clock: Clock, *, listen_seconds: float) -> AsyncIterator[Patient]:
    """A patient whose every answer from outside also tells what time it is there."""
    skews: dict[str, float] = {}
    async with (
        httpx.AsyncClient(
            timeout=httpx.Timeout(30, connect=5), event_hooks={"response": [_noting(skews, settings, clock)]}
        ) as http,
        AsyncExitStack() as stack,
    ):
        yield Patient(settings, clock, http, stack, skews, listen_seconds)


def _noting(skews: dict[str, float], settings: Settings, clock: Clock) -> Callable[[httpx.Response], Any]:
    ourselves = urlsplit(settings.public_url or "").netloc

    async def note(response: httpx.Response) -> None:
        host = response.request.url.netloc.decode()
        try:
            theirs = parsedate_to_datetime(response.headers["date"]).timestamp()
        except (KeyError, ValueError):
            return
        if host != ourselves:
            skews[host] = theirs - clock.now() / SECOND_MS

    return note
