"""Fetching AKOOL's result: the whole file or nothing."""

import asyncio
import ipaddress
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import httpx

_CHUNK_BYTES = 1 << 18
_MOST_BYTES = 2_000_000_000
_LONGEST_SECONDS = 1800  # for the whole file, however slowly it drips


class ResultUnavailable(Exception):
    """The result can't be had whole now; the message holds no URL."""


class Results:
    """Downloads results, from public https addresses only.

    AKOOL promises no host for its results (any CloudFront domain may come), so the address is checked instead.
    `trust_private` admits plain http and private addresses, for an AKOOL that is itself on this machine.
    """

    def __init__(self, http: httpx.AsyncClient, *, trust_private: bool) -> None:
        self._http = http
        self._trust_private = trust_private

    async def fetch(self, url: str, target: Path) -> None:
        """Stream the file at `url` to `target`. Raises `ResultUnavailable`."""
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                for _ in range(4):
                    redirect = await self._fetch(url, target)
                    if redirect is None:
                        return
                    url = redirect
        except TimeoutError:
            raise ResultUnavailable("it comes too slowly") from None
        # httpx lets a broken TLS record through as `ssl.SSLError`; and a URL may be wrong in many ways.
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, ValueError) as error:
            raise ResultUnavailable(type(error).__name__) from None
        raise ResultUnavailable("too many redirects")

    async def _fetch(self, url: str, target: Path) -> str | None:
        await self._check_address(url)
        whole = {"Accept-Encoding": "identity"}  # so that lengths can be compared
        async with self._http.stream("GET", url, headers=whole, follow_redirects=False) as response:
            if response.next_request is not None:
                return str(response.next_request.url)
            if response.status_code != httpx.codes.OK:
                raise ResultUnavailable(f"HTTP {response.status_code}")
            await self._write(response, target)
        return None

    async def _write(self, response: httpx.Response, target: Path) -> None:
        size = 0
        with target.open("wb") as sink:
            async for chunk in response.aiter_raw(_CHUNK_BYTES):
                size += len(chunk)
                if size > _MOST_BYTES:
                    raise ResultUnavailable("it is absurdly large")
                sink.write(chunk)
        length = response.headers.get("content-length")
        if length is not None and int(length) != size:
            raise ResultUnavailable("it ended early")

    async def _check_address(self, url: str) -> None:
        if self._trust_private:
            return
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ResultUnavailable("it is not at an https address")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                parts.hostname, parts.port or 443, type=socket.SOCK_STREAM
            )
        except OSError:
            raise ResultUnavailable("its host can't be found") from None
        if not all(ipaddress.ip_address(address[0]).is_global for *_, address in found):
            raise ResultUnavailable("it is at a private address")
