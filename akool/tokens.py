"""A Bearer token, kept in memory and fetched when there is need."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from akool.protocol import expires_at

_RENEW_BEFORE_SECONDS = 60


class Tokens:
    def __init__(self, fetch: Callable[[], Awaitable[str]]) -> None:
        self._fetch = fetch
        self._token = ""
        self._fetching: asyncio.Task[None] | None = None

    async def get(self, *, instead_of: str = "") -> str:
        """The token in force, fetched first if that is `instead_of` or about to expire.

        Whoever comes during a fetch shares it, and its failure; who is cancelled does not take it from the others.
        """
        expires_soon = expires_at(self._token) - time.time() < _RENEW_BEFORE_SECONDS
        if self._token in ("", instead_of) or expires_soon:
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._fetch_and_keep(), name="AKOOL token")
                self._fetching.add_done_callback(_look_at)  # whoever asked for it may be gone
            await asyncio.shield(self._fetching)
        return self._token

    async def _fetch_and_keep(self) -> None:
        self._token = await self._fetch()


def _look_at(fetching: asyncio.Task[None]) -> None:
    """Take notice of a failure, which asyncio else complains of."""
    if not fetching.cancelled():
        fetching.exception()
