"""Outages of what the bot stands on: nothing is lost, readiness says no, and it goes on when they are over."""

import asyncio
import resource
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psutil
import pytest

from bot.sandbox import Akool, BotApi
from clocks import TurnableClock
from media_samples import sound
from s3_servers import BUCKET, s3_environment
from scenes import ask_for_video, calls_of, job_in, new_chat, passing, refusing, says, video_in
from storage.job import State
from test_cli import PATIENCE_SECONDS, Environment, akool, environment, start, telegram  # noqa: F401 - fixtures
from world import PHOTO, World, free_port, render_cheaply, world

CREATE = "createbytalkingphoto"


async def broken_parts(root_url: str | None) -> set[str]:
    """What `/readyz` says does not work; nothing where it says that all does."""
    async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
        response = await http.get(f"{root_url}/readyz")
    broken = {name for name, part in response.json().items() if not part["ok"]}
    assert response.status_code == (503 if broken else 200)
    return broken


# --- the disk ---


async def test_a_full_disk_costs_nothing_but_time(
    environment: Environment,  # noqa: F811
    telegram: BotApi,  # noqa: F811
    akool: Akool,  # noqa: F811
    tmp_path: Path,
) -> None:
    """The voice note comes while not a byte can be written: it stays with Telegram until there is room again."""
    process = await start(environment, tmp_path, "run", output=DEVNULL)
    try:
        ada = telegram.private_chat()
        await ada.send_photo(PHOTO)
        await says(ada, "Now send me a voice note")

        bot = psutil.Process(process.pid)
        bot.rlimit(psutil.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        voice = await ada.send_voice(sound(seconds=1))
        for _ in range(2):
            polls = sum(call.name == "getUpdates" for call in telegram.calls)
            await telegram.wait_until(
                lambda polls=polls: sum(call.name == "getUpdates" for call in telegram.calls) > polls,  # type: ignore[misc]
                timeout_seconds=PATIENCE_SECONDS,
            )
        assert await broken_parts(environment["PUBLIC_URL"]) >= {"database", "store"}
        assert telegram.updates.pending, "what can't be stored is not acknowledged"

        bot.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert (await video_in(ada)).reply_to_id == voice.id
        assert await broken_parts(environment["PUBLIC_URL"]) == set()
        assert len(akool.creates) == 1
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("refused", ["UPDATE ON jobs", "INSERT ON calls", "INSERT ON updates", "UPDATE ON updates"])
async def test_a_database_that_refuses_for_a_while_loses_nothing(refused: str, tmp_path: Path) -> None:
    clock = TurnableClock()
    async with world(tmp_path, clock=clock) as here:
        async with refusing(here, refused):
            chat = new_chat(here)
            await chat.send_photo(PHOTO)
            await chat.send_voice(sound(seconds=1))
            # For so short a time, since a trigger's refusal looks like an update's own fault, of which five are enough.
            for _ in range(8):
                clock.turn(seconds=3)
                await asyncio.sleep(0.02)  # real time, for threads that ring no bell
        await passing(here, clock, chat, video_in(chat))

        assert len(here.akool.creates) == 1
        assert sum(call.name == "sendVideo" for call in chat.history) == 1


async def test_not_ready_while_nothing_can_be_written_to_the_database(tmp_path: Path) -> None:
    """Reading would still work."""
    async with world(tmp_path) as here:
        async with refusing(here, "INSERT ON notices"):
            assert "database" in await broken_parts(here.settings.public_url)
        assert "database" not in await broken_parts(here.settings.public_url)


# --- the object store ---


class Door:
    """A way to an HTTP server that can be shut: a TCP port that then refuses."""

    def __init__(self, url: str) -> None:
        self._to = (urlsplit(url).hostname, urlsplit(url).port)
        self._port = free_port()
        self._carried: dict[asyncio.Task[None] | None, set[asyncio.StreamWriter]] = {}
        self._server: asyncio.Server | None = None
        self.url = f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)

    async def shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for ends in self._carried.values():
            for end in ends:
                end.transport.abort()
        await asyncio.gather(*(task for task in self._carried if task), return_exceptions=True)
        await asyncio.sleep(0)  # one turn of the loop, in which the transports close

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._carried[task] = {writer}
        try:
            there_reader, there_writer = await asyncio.open_connection(*self._to)
            self._carried[task].add(there_writer)
            await asyncio.gather(_pour(reader, there_writer), _pour(there_reader, writer))
        finally:
            del self._carried[task]


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def door_to(url: str) -> AsyncIterator[Door]:
    door = Door(url)
    await door.open()
    try:
        yield door
    finally:
        await door.shut()


async def test_s3_that_is_down_for_ten_minutes_costs_nothing_but_time(
    weed_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with door_to(weed_url) as door:
        for name, value in s3_environment(door.url).items():
            monkeypatch.setenv(name, value)
        clock = TurnableClock()
        async with world(
            tmp_path, clock=clock, media_store=f"s3://{BUCKET}/{uuid4().hex}", media_delivery="proxy"
        ) as here:
            await door.shut()
            chat = await ask_for_video(here)
            job = await job_in(here, chat, State.COLLECTING)
            assert "store" in await broken_parts(here.settings.public_url)
            began_at = clock.now()
            while clock.now() < began_at + 10 * 60_000:
                tries = job.attempts
                while (job := await job_in(here, chat, State.COLLECTING)).attempts == tries:
                    clock.turn(seconds=5)
                    await asyncio.sleep(0.02)  # boto3's own tries take real time
            await door.open()
            await passing(here, clock, chat, video_in(chat))

            assert "store" not in await broken_parts(here.settings.public_url)
            assert len(here.akool.creates) == 1


# --- AKOOL ---


async def test_an_akool_that_cant_be_reached_is_tried_again_and_the_status_says_so(tmp_path: Path) -> None:
    """Nothing listens at its address for a while: surely nothing was accepted."""
    clock, port = TurnableClock(), free_port()
    async with world(tmp_path, clock=clock, akool_api_url=f"http://127.0.0.1:{port}") as here:
        chat = await ask_for_video(here)
        await passing(here, clock, chat, says(chat, "The video service is busy, so I keep trying"))
        late = Akool(renderer=render_cheaply)
        async with late.serving(port=port):
            await passing(here, clock, chat, video_in(chat))
            calls = await calls_of(here, await job_in(here, chat, State.DELIVERED))

    assert len(late.creates) == 1
    assert {call.outcome for call in calls[:-1]} == {"refused"}


async def test_a_token_that_is_revoked_is_fetched_once_anew(tmp_path: Path) -> None:
    async with bearer_world(tmp_path) as here:
        await video_in(await ask_for_video(here))
        here.akool.account.revoke_tokens()
        await video_in(await ask_for_video(here))

    names = [call.name for call in here.akool.calls]
    assert names.count("getToken") == 2
    assert len(here.akool.videos) == 2, "the refused call is repeated, since nothing was accepted"


async def test_a_token_that_is_refused_again_pauses_everything(tmp_path: Path) -> None:
    async with bearer_world(tmp_path) as here:
        here.akool.fail(CREATE, code=1101, times=1000)
        chat = await ask_for_video(here)
        await says(chat, "needs my operator's attention")

    names = [call.name for call in here.akool.calls]
    assert (names.count("getToken"), names.count(CREATE)) == (2, 2)


@asynccontextmanager
async def bearer_world(folder: Path) -> AsyncIterator[World]:
    vendor = Akool(renderer=render_cheaply)
    secret = vendor.account.client_secret
    async with world(folder, akool=vendor, akool_api_key=None, akool_client_secret=secret) as here:
        yield here
