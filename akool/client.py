"""The wire: sends the protocol's requests by httpx, and says for each failure whether AKOOL may have got it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import httpx

from akool import protocol
from akool.errors import AkoolError, AnswerLost, InvalidInput, InvalidToken, NotSent
from akool.models import Video
from akool.protocol import Request
from akool.tokens import Tokens

DEFAULT_BASE_URL = "https://openapi.akool.com"
TIMEOUT = httpx.Timeout(30, connect=10, pool=10)  # seconds, each for one phase
CREATE_TIMEOUT = httpx.Timeout(60, write=30, connect=10, pool=10)  # AKOOL fetches and probes both files meanwhile

_EXCHANGE_SECONDS = 120  # all phases of one request together, however slowly its answer drips
_MOST_ANSWER_BYTES = 1 << 20

# All that httpx raises before the first byte of a request is out.
_BEFORE_SENDING = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)

Result = TypeVar("Result")

Observe = Callable[[str, str, float], None]
"""Hears of each request that has ended: its name, "ok" or the error's `kind`, and how many seconds it took."""


def _ignore(_name: str, _status: str, _seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Sent as `x-api-key`, which AKOOL recommends. Raises `ValueError` for what can be no key."""

    key: str = field(repr=False)

    def __post_init__(self) -> None:
        if not protocol.is_header_value(self.key):
            raise ValueError("an AKOOL API key is one word of ASCII characters")


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Exchanged for a Bearer token, which is kept in memory."""

    client_id: str = field(repr=False)
    client_secret: str = field(repr=False)


class Client:
    """AKOOL's Talking Photo API. Every method raises `AkoolError` and nothing else.

    It owns none of its connections; `open_client` gives one with the right ones. `submit_http` carries the create
    call and should keep no connection alive, since one that AKOOL has just closed leaves the call's outcome unknown.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        auth: ApiKey | ClientCredentials,
        *,
        base_url: str = DEFAULT_BASE_URL,
        submit_http: httpx.AsyncClient | None = None,
        observe: Observe = _ignore,
    ) -> None:
        self._observe = observe
        self._http = http
        self._submit_http = submit_http or http
        self._root = base_url.rstrip("/")
        self._auth: ApiKey | Tokens
        if isinstance(auth, ClientCredentials):
            login = protocol.get_token(auth.client_id, auth.client_secret)
            self._auth = Tokens(lambda: self._exchange(login, {}))
        else:
            self._auth = auth

    async def create_talking_photo(
        self,
        *,
        talking_photo_url: str,
        audio_url: str,
        webhook_url: str | None = None,
        prompt: str | None = None,
        resolution: str | None = None,
    ) -> Video:
        """Have a video made. Costs credits, and there is no idempotency key: see the error's `accepted`.

        The URLs must be public ones, of a JPEG or PNG and an MP3. `resolution` is "720" or "1080". The `id` of the
        result is the job's only key.
        """
        return await self._ask(
            protocol.create_talking_photo(
                talking_photo_url=talking_photo_url,
                audio_url=audio_url,
                webhook_url=webhook_url,
                prompt=prompt,
                resolution=resolution,
            )
        )

    async def get_video(self, video_id: str) -> Video:
        """How a render stands. `NotFound` may pass, right after it was created."""
        return await self._ask(protocol.get_video(video_id))

    async def get_credit(self) -> float:
        """The account's balance, in credits."""
        return await self._ask(protocol.get_credit())

    async def _ask(self, request: Request[Result]) -> Result:
        """Send one of the two headers, never both: "Authorization will be used first and x-api-key discarded"."""
        if isinstance(self._auth, ApiKey):
            return await self._exchange(request, {"x-api-key": self._auth.key})
        token = await self._auth.get()
        try:
            return await self._exchange(request, _bearer(token))
        except InvalidToken:
            # Said before anything is accepted, so even a create call may be repeated.
            token = await self._auth.get(instead_of=token)
            return await self._exchange(request, _bearer(token))

    async def _exchange(self, request: Request[Result], headers: Mapping[str, str]) -> Result:
        began = time.monotonic()
        try:
            result = await self._send(request, headers)
        except AkoolError as error:
            self._observe(request.name, error.kind, time.monotonic() - began)
            raise
        self._observe(request.name, "ok", time.monotonic() - began)
        return result

    async def _send(self, request: Request[Result], headers: Mapping[str, str]) -> Result:
        http = self._submit_http if request.charged else self._http
        try:
            async with (
                asyncio.timeout(_EXCHANGE_SECONDS),
                http.stream(
                    request.method,
                    self._root + request.path,
                    params=request.params,
                    json=request.json,
                    headers=headers,
                    follow_redirects=False,
                ) as response,
            ):
                body = await _read(response)
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise request.failed(InvalidInput, type(error).__name__) from None
        except _BEFORE_SENDING as error:
            raise request.failed(NotSent, type(error).__name__) from error
        except (httpx.HTTPError, OSError) as error:  # httpx lets a broken TLS record through as `ssl.SSLError`
            raise request.failed(AnswerLost, type(error).__name__) from error
        return protocol.decipher(request, response.status_code, response.headers, body)


@asynccontextmanager
async def open_client(
    auth: ApiKey | ClientCredentials, *, base_url: str = DEFAULT_BASE_URL, observe: Observe = _ignore
) -> AsyncIterator[Client]:
    """A client on its own connections: kept alive for questions, a fresh one for each create call."""
    tls = httpx.create_ssl_context()
    fresh = httpx.Limits(max_keepalive_connections=0)
    async with (
        httpx.AsyncClient(verify=tls, timeout=TIMEOUT) as http,
        httpx.AsyncClient(verify=tls, timeout=CREATE_TIMEOUT, limits=fresh) as submit_http,
    ):
        yield Client(http, auth, base_url=base_url, submit_http=submit_http, observe=observe)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _read(response: httpx.Response) -> bytes:
    """The body, or so much of it that it is certainly no answer of AKOOL's."""
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MOST_ANSWER_BYTES:
            break
    return bytes(body)
