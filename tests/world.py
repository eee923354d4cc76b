"""A small world for tests: the service itself, a local Telegram, a local AKOOL, real HTTP between them."""

import asyncio
import io
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np

from bot.app import running
from bot.clock import Clock
from bot.config import Settings
from bot.sandbox import Akool, BotApi
from bot.sandbox.chats import Chat, Message
from storage.database import open_reader
from storage.job import Job, State
from storage.jobs import Jobs

SAMPLES = Path(__file__).parent.parent / "bot" / "sandbox" / "samples"
PHOTO = SAMPLES / "photo.jpg"
VOICE = SAMPLES / "voice.ogg"


@dataclass
class World:
    telegram: BotApi
    akool: Akool
    settings: Settings
    ada: Chat

    async def jobs(self) -> list[Job]:
        """The jobs, oldest first, as the command sees them beside the running service."""
        async with open_reader(self.settings.database_url.get_secret_value(), now=Clock().now) as database:
            return list(reversed(await Jobs(database).list()))

    async def job_in(self, *states: State) -> Job:
        """The newest job that is in one of the states, now or soon. The file has no bell, so it is asked again."""
        async with asyncio.timeout(10):
            while True:
                found = [job for job in await self.jobs() if job.state in states]
                if found:
                    return found[-1]
                await asyncio.sleep(0.02)

    async def video(self) -> Message:
        return await self.ada.wait_for(lambda message: message.video)

    async def says(self, words: str) -> Message:
        """The bot's message in Ada's chat that holds these words, now or later."""
        return await self.ada.wait_for(lambda message: message.is_from_bot and words in message.text)


@cache
def tiny_mp4(*, seconds: float = 1.0, width: int = 64, height: int = 96) -> bytes:
    """A real, small video with sound."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=10, width=width, height=height, pix_fmt="yuv420p")
        audio = container.add_stream("aac", rate=44100, layout="mono")
        for number in range(round(seconds * 10)):
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), number * 9 % 255, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        for number in range(round(seconds * 44100 / 1024)):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 44100, number * 1024
            container.mux(audio.encode(silence))
        container.mux(video.encode())
        container.mux(audio.encode())
    return target.getvalue()


def render_cheaply(_photo: Path, _audio: Path, target: Path) -> None:
    """A renderer for AKOOL that costs nothing."""
    target.write_bytes(tiny_mp4())


def free_port() -> int:
    """A port that nobody listens at, and below those that the system gives to outgoing connections meanwhile."""
    while True:
        port = random.randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@asynccontextmanager
async def world(
    folder: Path,
    *,
    telegram: BotApi | None = None,
    akool: Akool | None = None,
    clock: Clock | None = None,
    sets_profile: bool = False,
    **settings: Any,
) -> AsyncIterator[World]:
    """Run everything until the end of the block. `settings` are those of `Settings`, in lower case."""
    telegram = telegram or BotApi()
    akool = akool or Akool(renderer=render_cheaply)
    async with (
        telegram.serving(),
        akool.serving(),
        bot_beside(telegram, akool, folder, clock=clock, sets_profile=sets_profile, **settings) as here,
    ):
        yield here


@asynccontextmanager
async def bot_beside(
    telegram: BotApi,
    akool: Akool,
    folder: Path,
    *,
    clock: Clock | None = None,
    sets_profile: bool = False,
    **settings: Any,
) -> AsyncIterator[World]:
    """Run the service until the end of the block, beside stand-ins that serve already."""
    port = free_port()
    values: dict[str, Any] = {
        "telegram_bot_token": telegram.token,
        "telegram_api_url": telegram.root_url,
        "akool_api_key": akool.account.client_secret,
        "akool_client_id": akool.account.client_id,
        "akool_api_url": akool.root_url,
        "public_url": f"http://127.0.0.1:{port}",
        "port": port,
        "data_dir": str(folder / "data"),
        "allowed_users": "*",
        **settings,
    }
    chosen = Settings(_env_file=None, **values)  # type: ignore[call-arg]
    async with running(chosen, clock or Clock(), sets_profile=sets_profile):
        yield World(telegram, akool, chosen, telegram.private_chat(first_name="Ada"))
