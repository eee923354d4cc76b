"""The Bot API through python-telegram-bot: building the application, and fetching a person's file."""

from pathlib import Path
from typing import Any

import httpx
from telegram import Bot
from telegram.error import BadRequest, NetworkError
from telegram.ext import Application, ApplicationBuilder
from telegram.request import HTTPXRequest

from bot.media import MediaRefused, Refusal

TelegramApplication = Application[Any, Any, Any, Any, Any, Any]

# https://core.telegram.org/bots/api#getfile: "bots can download files of up to 20MB in size"
MOST_BYTES_DOWN = 20 << 20
# https://core.telegram.org/bots/api#sending-files: "50 MB max size for other files"
MOST_BYTES_UP = 50 * 1000 * 1000

_CHUNK_BYTES = 1 << 16


def build_application(token: str, api_url: str) -> TelegramApplication:
    """An application without an updater: we fetch and store updates ourselves before they are acknowledged."""
    request = HTTPXRequest(
        connection_pool_size=64,
        connect_timeout=10,
        read_timeout=30,
        write_timeout=30,
        pool_timeout=10,
        media_write_timeout=300,
    )
    return (
        ApplicationBuilder()
        .token(token)
        .base_url(f"{api_url}/bot")
        .base_file_url(f"{api_url}/file/bot")
        .request(request)
        .updater(None)
        .job_queue(None)
        .build()
    )


class Files:
    """Fetches what people sent, in a stream, straight to disk."""

    def __init__(self, bot: Bot, http: httpx.AsyncClient) -> None:
        self._bot = bot
        self._http = http

    async def download(self, file_id: str, target: Path) -> None:
        """Fetch a file with a fresh `getFile`, since its URL lives for an hour only.

        Raises `MediaRefused` where it is over Telegram's 20 MB, `TelegramError` where it can't be fetched now.
        """
        try:
            file = await self._bot.get_file(file_id)
        except BadRequest as error:
            if "too big" in error.message.lower():
                raise MediaRefused(Refusal.FILE_TOO_BIG) from None
            raise
        if not file.file_path:
            raise NetworkError("getFile gave no path")
        try:
            await self._stream(file.file_path, target)
        except httpx.HTTPError as error:
            # The exception's own text would hold the URL, and with it the token.
            raise NetworkError(f"the file can't be fetched: {type(error).__name__}") from None

    async def _stream(self, url: str, target: Path) -> None:
        async with self._http.stream("GET", url) as response:
            response.raise_for_status()
            size = 0
            with target.open("wb") as sink:
                async for chunk in response.aiter_bytes(_CHUNK_BYTES):
                    size += len(chunk)
                    if size > MOST_BYTES_DOWN:
                        raise MediaRefused(Refusal.FILE_TOO_BIG)
                    sink.write(chunk)
