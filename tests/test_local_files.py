"""A Bot API server of one's own, started with `--local`: its files are read from the disk that it shares with us."""

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from telegram.error import NetworkError

from bot.clock import Clock
from bot.limiter import Limiter
from bot.media import MediaRefused, Refusal
from bot.sandbox import BotApi
from bot.telegram import Files, build_application
from storage.rates import OwnRates
from world import PHOTO, VOICE, world

TOKEN = "123:abc"
ROOT = "http://127.0.0.1:8081"
MOST_BYTES = 1000

Fetch = Callable[[str], Awaitable[bytes]]


async def test_a_job_whose_files_never_travel_by_http(tmp_path: Path) -> None:
    telegram = BotApi(local_folder=tmp_path / "server")
    async with world(tmp_path, telegram=telegram, telegram_local_files=True) as here:
        await here.ada.send_photo(PHOTO, file_size=30 << 20)  # more than api.telegram.org hands out
        await here.ada.send_voice(VOICE)
        await here.video()

    assert "file" not in {call.name for call in telegram.calls}


async def test_a_file_over_our_own_limit_is_told_so(tmp_path: Path) -> None:
    telegram = BotApi(local_folder=tmp_path / "server")
    async with world(tmp_path, telegram=telegram, telegram_local_files=True) as here:
        await here.ada.send_photo(PHOTO, file_size=201 << 20)
        await here.says("over 200 MB")


@asynccontextmanager
async def fetching(tmp_path: Path, *, on_our_disk: bool = True) -> AsyncIterator[Fetch]:
    """Gives what fetches a file from a server that says that it lies under a certain path."""
    lies_at = ""

    async def breaks() -> AsyncIterator[bytes]:
        yield b"by"
        raise ssl.SSLError("bad record mac")

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/getFile"):
            result = {"file_id": "x", "file_unique_id": "x", "file_path": lies_at}
            return httpx.Response(200, json={"ok": True, "result": result})
        if request.url.path.endswith("/breaks"):
            return httpx.Response(200, content=breaks())
        return httpx.Response(200 if request.url.path == f"/file/bot{TOKEN}/photos/1.jpg" else 404, content=b"by http")

    transport = httpx.MockTransport(answer)
    clock = Clock()
    bot = build_application(TOKEN, ROOT, Limiter(clock, OwnRates(clock.now)), transport=transport).bot
    async with httpx.AsyncClient(transport=transport) as http:
        files = Files(bot, http, most_bytes=MOST_BYTES, on_our_disk=on_our_disk)

        async def fetch(path: str) -> bytes:
            nonlocal lies_at
            lies_at = path
            target = tmp_path / "target"
            await files.download("x", target)
            return target.read_bytes()

        yield fetch


async def test_a_file_on_our_disk_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "1.jpg"
    source.write_bytes(bytes(MOST_BYTES))
    async with fetching(tmp_path) as fetch:
        assert await fetch(str(source)) == bytes(MOST_BYTES)

    assert source.exists()


async def test_a_path_that_is_not_absolute_is_fetched_by_http(tmp_path: Path) -> None:
    """As from a server that was started without `--local`."""
    async with fetching(tmp_path) as fetch:
        assert await fetch("photos/1.jpg") == b"by http"


async def test_a_connection_whose_tls_breaks_is_a_trouble_of_the_network(tmp_path: Path) -> None:
    async with fetching(tmp_path) as fetch:
        with pytest.raises(NetworkError, match="SSLError"):
            await fetch("photos/breaks")


async def test_a_file_that_is_larger_than_it_said_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "1.jpg"
    source.write_bytes(bytes(MOST_BYTES + 1))
    async with fetching(tmp_path) as fetch:
        with pytest.raises(MediaRefused) as refused:
            await fetch(str(source))

    assert refused.value.refusal is Refusal.FILE_TOO_BIG


async def test_only_a_regular_file_is_read_and_the_token_in_its_path_is_not_told(tmp_path: Path) -> None:
    folder = tmp_path / TOKEN
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "truth").write_bytes(b"a secret of this machine")
    (folder / "link").symlink_to(folder / "truth")
    async with fetching(tmp_path) as fetch:
        for path in (folder, folder / "pipe", folder / "link", folder / "nothing", Path("/dev/zero")):
            with pytest.raises(NetworkError) as caught:
                await fetch(str(path))
            assert TOKEN not in str(caught.value)


async def test_an_absolute_path_opens_nothing_unless_the_operator_says_so(tmp_path: Path) -> None:
    """Whoever stands between us and api.telegram.org must not choose what we read."""
    source = tmp_path / "1.jpg"
    source.write_bytes(b"a secret of this machine")
    async with fetching(tmp_path, on_our_disk=False) as fetch:
        with pytest.raises(NetworkError):
            await fetch(str(source))
