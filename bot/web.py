"""What the outside reaches: AKOOL's callbacks, Telegram's updates, signed media, health and metrics."""

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import structlog
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import akool
from bot.addresses import LOOPBACK
from bot.clock import Clock
from bot.config import Settings
from bot.health import Part
from bot.media_route import media_route
from bot.metrics import CALLBACKS
from bot.patience import SECOND_MS
from bot.troubles import Outage
from bot.watching import about_job, step
from storage.engine import DATABASE_ERRORS
from storage.job import State
from storage.jobs import Jobs
from storage.ledger import Call, Ledger
from storage.objects import MediaSigner, ObjectStore

log = structlog.get_logger()

_MOST_CALLBACK_BYTES = 64 << 10
_MOST_UPDATE_BYTES = 1 << 20
_READ_SECONDS = 10
_TOKEN = re.compile(r"[\w-]{16,64}", re.ASCII)

# How much a callback tells; one that tells no more than those before it makes us ask AKOOL only now and then.
_ASK_AGAIN_AFTER_MS = 5 * SECOND_MS
_SAYS_FINISHED = 1
_SAYS_RESULT = 2


@dataclass(frozen=True)
class Web:
    settings: Settings
    clock: Clock
    jobs: Jobs
    ledger: Ledger
    store: ObjectStore
    signer: MediaSigner
    take_updates: Callable[[list[object]], Awaitable[object]]
    telegram_secrets: Sequence[str]
    ring: Callable[[], None]
    readiness: Callable[[], Awaitable[Mapping[str, Part]]]
    metrics: Callable[[], Awaitable[bytes]]
    unstored: Outage

    def application(self) -> Starlette:
        routes = [
            Route("/akool/{token}", self.akool_callback, methods=["POST"]),
            Route("/telegram", self.telegram_update, methods=["POST"]),
            media_route(self.store, self.signer, self.clock),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.show_metrics),
        ]
        application = Starlette(routes=routes)
        application.router.redirect_slashes = False
        return application

    # --- doorbells ---

    async def akool_callback(self, request: Request) -> Response:
        """AKOOL's callback: a doorbell, and the way home for an `_id` whose answer was lost.

        Answers exactly 200, once what it says is stored; AKOOL repeats it otherwise
        (https://docs.akool.com/ai-tools-suite/webhook).
        """
        try:
            await self._take_callback(request.path_params["token"], request)
        except DATABASE_ERRORS as error:  # AKOOL comes again, and else we ask
            self.unstored.goes_on(error, exc_info=True)
            raise HTTPException(429) from None  # no fault of the caller's, but only a later try can help
        self.unstored.is_over()
        return Response(status_code=200)

    async def _take_callback(self, token: str, request: Request) -> None:
        call = await self.ledger.get(token) if _TOKEN.fullmatch(token) else None
        if call is None:
            CALLBACKS.labels("unknown_token").inc()
            raise HTTPException(404)
        body = await _read(request, most=_MOST_CALLBACK_BYTES)
        with step("callback", job=call.job_id):
            await self._open_callback(call, body)

    async def _open_callback(self, call: Call, body: bytes) -> None:
        if not self.settings.opens_callbacks:
            CALLBACKS.labels("blind").inc()
            await self._ring_blindly(call.job_id)
            return
        try:
            callback = akool.open_callback(
                body,
                client_id=self.settings.callback_id or "",
                client_secret=self.settings.callback_secret or "",
            )
        except akool.AkoolError as error:
            CALLBACKS.labels("refused").inc()
            log.warning("a callback was refused", error=type(error).__name__)
            raise HTTPException(403) from None
        await self._hear(call.token, callback)

    async def _hear(self, token: str, callback: akool.Callback) -> None:
        now = self.clock.now()
        ask_at = now + int(self.settings.akool_poll_seconds * SECOND_MS)
        arrival = await self.ledger.arrived(token, callback.id, ask_at=ask_at)
        CALLBACKS.labels("refused" if arrival is None else "genuine").inc()
        if arrival is None:
            log.warning("a callback was refused", error="OtherVideo")
            raise HTTPException(403)
        job = arrival.job
        if job is None:  # forgotten
            return
        about_job(job)
        log.info("AKOOL called back", status=callback.status.name.lower())
        rank = _SAYS_RESULT if callback.url or callback.status is akool.VideoStatus.FAILED else _SAYS_FINISHED
        is_over = callback.status in (akool.VideoStatus.COMPLETED, akool.VideoStatus.FAILED)
        asked_long_ago = now - job.updated_at > _ASK_AGAIN_AFTER_MS
        if is_over and (await self.ledger.heard(token, rank=rank) or asked_long_ago):
            await self.jobs.ring(job.id, state=State.RENDERING)
        self.ring()

    async def _ring_blindly(self, job_id: int) -> None:
        """Without the client id the envelope stays shut; the path's token alone lets it ring, once a second."""
        job = await self.jobs.get(job_id)
        if job is not None and self.clock.now() - job.updated_at > SECOND_MS:
            await self.jobs.ring(job_id, state=State.RENDERING)
            self.ring()

    async def telegram_update(self, request: Request) -> Response:
        """An update in webhook mode: 200 only after it is stored, else Telegram sends it again.

        Source: https://core.telegram.org/bots/api#setwebhook
        """
        given = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
        fits = [hmac.compare_digest(given.encode(), secret.encode()) for secret in self.telegram_secrets]
        if not any(fits):
            raise HTTPException(403)
        body = await _read(request, most=_MOST_UPDATE_BYTES)
        try:
            update = json.loads(body)
        except (ValueError, RecursionError):
            raise HTTPException(400) from None
        try:
            await self.take_updates([update])
        except DATABASE_ERRORS as error:  # Telegram sends it again
            self.unstored.goes_on(error, exc_info=True)
            raise HTTPException(503) from None
        self.unstored.is_over()
        return Response(status_code=200)

    # --- health ---

    async def healthz(self, _request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(self, _request: Request) -> Response:
        parts = await self.readiness()
        is_ready = all(part.ok for part in parts.values())
        return JSONResponse({name: asdict(part) for name, part in parts.items()}, 200 if is_ready else 503)

    async def show_metrics(self, request: Request) -> Response:
        token = self.settings.metrics_token
        if token is None:
            is_loopback = request.client is not None and request.client.host in LOOPBACK
            proxied = "x-forwarded-for" in request.headers or "forwarded" in request.headers
            if not is_loopback or proxied:
                raise HTTPException(404)
        elif not hmac.compare_digest(
            request.headers.get("Authorization", "").encode(), f"Bearer {token.get_secret_value()}".encode()
        ):
            raise HTTPException(401)
        return Response(await self.metrics(), media_type=CONTENT_TYPE_LATEST)


async def _read(request: Request, *, most: int) -> bytes:
    """The body, if it is not too large and comes within a reasonable time."""
    declared = request.headers.get("Content-Length", "0")
    if declared.isdigit() and int(declared) > most:
        raise HTTPException(413)
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise HTTPException(413)
    except TimeoutError:
        raise HTTPException(408) from None
    except ClientDisconnect:
        raise HTTPException(400) from None
    return bytes(body)
