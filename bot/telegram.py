"""The Bot API through python-telegram-bot: building the application, and fetching a person's file."""

import asyncio
import os
import shutil
import ssl
import stat
from pathlib import Path
from typing import Any

import httpx
import structlog
from telegram import Bot
from telegram.error import BadRequest, InvalidToken, NetworkError, TelegramError
from telegram.ext import Application, ApplicationBuilder, BaseRateLimiter
from telegram.request import HTTPXRequest

from bot.clock import Clock
from bot.media import MediaRefused, Refusal
from bot.metrics import Answer, telegram_call
from bot.patience import MINUTE_MS, SECOND_MS, backoff_ms
from bot.troubles import Outage

log = structlog.get_logger()

TelegramApplication = Application[Any, Any, Any, Any, Any, Any]

ALLOWED_UPDATES = ("message", "edited_message", "callback_query", "my_chat_member")

_CHUNK_BYTES = 1 << 16


def build_application(
    token: str, api_url: str, limiter: BaseRateLimiter[Any], *, transport: httpx.AsyncBaseTransport | None = None
) -> TelegramApplication:
    """An application without an updater: we fetch and store updates ourselves before they are acknowledged.

    `transport` carries its requests instead of the network.
    """
    request = _TimedRequest(
        connection_pool_size=64,
        connect_timeout=10,
        read_timeout=30,
        write_timeout=30,
        pool_timeout=10,
        media_write_timeout=300,
        httpx_kwargs={"transport": transport} if transport else None,
    )
    return (
        ApplicationBuilder()
        .token(token)
        .base_url(f"{api_url}/bot")
        .base_file_url(f"{api_url}/file/bot")
        .request(request)
        .get_updates_request(request)  # never made; one of its own would load all certificates once more
        .rate_limiter(limiter)
        .updater(None)
        .job_queue(None)
        .build()
    )


class _TimedRequest(HTTPXRequest):
    async def do_request(self, url: str, method: str, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        with telegram_call(url.rpartition("/")[2]) as answer:  # the rest of the URL holds the token
            answer.status, body = await super().do_request(url, method, *args, **kwargs)
        return answer.status, body


class TokenRefused(Exception):
    """Telegram does not know the bot's token."""


async def log_in(application: TelegramApplication, clock: Clock) -> None:
    """Learn who we are; waits as long as Telegram can't be reached. Raises `TokenRefused`."""
    attempts = 0
    outage = Outage(clock, "Telegram can't be reached; trying again")
    while True:
        try:
            await application.initialize()
        except InvalidToken:
            raise TokenRefused("Telegram does not know this TELEGRAM_BOT_TOKEN: ask @BotFather for it") from None
        except TelegramError as error:
            outage.goes_on(error)
            await clock.wait(asyncio.Event(), seconds=backoff_ms(attempts, most_ms=MINUTE_MS) / SECOND_MS)
            attempts += 1
        else:
            outage.is_over()
            return


class Files:
    """Fetches what people sent, in a stream, straight to disk."""

    def __init__(self, bot: Bot, http: httpx.AsyncClient, *, most_bytes: int, on_our_disk: bool = False) -> None:
        """`on_our_disk`: the Bot API server is a local one, whose files we read where it keeps them."""
        self._bot = bot
        self._http = http
        self._on_our_disk = on_our_disk
        self.most_bytes = most_bytes

    async def download(self, file_id: str, target: Path) -> None:
        """Fetch a file with a fresh `getFile`, since its URL lives for an hour only.

        Raises `MediaRefused` where it is over `most_bytes`, `TelegramError` where it can't be fetched now.
        """
        try:
            file = await self._bot.get_file(file_id)
        except BadRequest as error:
            if "too big" in error.message.lower():
                raise MediaRefused(Refusal.FILE_TOO_BIG) from None
            raise
        if not file.file_path:
            raise NetworkError("getFile gave no path")
        # The library puts the server's URL before a path that it does not see as a file here.
        path = Path(file.file_path.removeprefix(f"{self._bot.base_file_url}/"))
        if not path.is_absolute():
            with telegram_call("file") as answer:
                await self._stream(file.file_path, target, answer)
        elif self._on_our_disk:
            await asyncio.to_thread(self._copy, path, target)
        else:
            log.error("the Bot API server keeps files on its own disk: TELEGRAM_LOCAL_FILES=true lets us read them")
            raise NetworkError("the file is on the Bot API server's own disk")

    def _copy(self, source: Path, target: Path) -> None:
        """Copy what a local server keeps under an absolute path, which holds the token and so is not told.

        See https://core.telegram.org/bots/api#using-a-local-bot-api-server
        """
        try:
            file = open(source, "rb", opener=_warily)  # noqa: SIM115 - a path's own takes no opener
        except OSError as error:
            log.error("the local Bot API server's files can't be read; is its folder shared?", error=error.strerror)
            raise NetworkError(f"the file can't be read: {error.strerror}") from None
        with file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise NetworkError("what the local Bot API server named is no file")
            if about.st_size > self.most_bytes:
                raise MediaRefused(Refusal.FILE_TOO_BIG)
            with target.open("wb") as sink:
                shutil.copyfileobj(file, sink, _CHUNK_BYTES)

    async def _stream(self, url: str, target: Path, answer: Answer) -> None:
        try:
            async with self._http.stream("GET", url) as response:
                answer.status = response.status_code
                response.raise_for_status()
                size = 0
                with target.open("wb") as sink:
                    async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                        size += len(chunk)
                        if size > self.most_bytes:
                            raise MediaRefused(Refusal.FILE_TOO_BIG)
                        sink.write(chunk)
        except (httpx.HTTPError, ssl.SSLError) as error:  # the latter from a broken TLS record
            # The exception's own text would hold the URL, and with it the token.
            raise NetworkError(f"the file can't be fetched: {type(error).__name__}") from None


def _warily(path: str, flags: int) -> int:
    """Open what may be a link to anywhere, or a pipe that nobody writes to."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
