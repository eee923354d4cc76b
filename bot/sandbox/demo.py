"""The main job on this machine alone: the real bot, a local Telegram, a local AKOOL, real HTTP, and an mp4."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bot import texts
from bot.sandbox.akool import Akool
from bot.sandbox.chats import Chat, Message
from bot.sandbox.telegram import BotApi
from bot.sizes import TELEGRAMS_OWN

ROOT = Path(__file__).parents[2]
SAMPLES = Path(__file__).parent / "samples"

_PATIENCE_SECONDS = 180
_RENDER_SECONDS = 2.0
_MAX_VOICE_SECONDS = 120


class DemoFailed(Exception):
    """The demo can't go on; the message says why."""


async def demo(*, photo: Path | None = None, voice: Path | None = None, output: Path) -> int:
    """Send a photo and a voice note to the bot, and keep the video that comes back; returns the exit status."""
    for path in filter(None, (photo, voice)):
        if not path.is_file():
            print(f"There is no file {path}.", file=sys.stderr)
            return 2
    try:
        with TemporaryDirectory(prefix="talkbot-demo-") as folder:
            video = await _story(photo or SAMPLES / "photo.jpg", voice or SAMPLES / "voice.ogg", Path(folder), output)
    except DemoFailed as failed:
        print(f"\n{failed}", file=sys.stderr)
        return 1
    print(f"\nThe video: {video}")
    return 0


async def _story(photo: Path, voice: Path, folder: Path, output: Path) -> Path:
    telegram = BotApi()
    akool = Akool(render_seconds=_RENDER_SECONDS)
    async with AsyncExitStack() as stack:
        telegram_url = await stack.enter_async_context(telegram.serving())
        akool_url = await stack.enter_async_context(akool.serving())
        print(f"A local Telegram listens at {telegram_url}, a local AKOOL at {akool_url}.")
        settings = _settings(telegram, akool, folder)
        process = await stack.enter_async_context(_bot(settings, folder))
        print(f"The bot runs as process {process.pid}, its data in {folder}.\n")
        ada = telegram.private_chat(first_name="Ada")
        message = await asyncio.wait_for(_talk(ada, photo, voice, process), _PATIENCE_SECONDS)
        if message.file is None:
            raise DemoFailed("The video came without a file.")
        output.mkdir(parents=True, exist_ok=True)
        video = (output / "talking-photo.mp4").resolve()
        video.write_bytes(message.file.data)
        await _print_timeline(settings, folder, akool)
    return video


async def _talk(chat: Chat, photo: Path, voice: Path, process: Process) -> Message:
    """Be Ada: send both, answer the bot's questions, and wait for the video."""
    await chat.send_photo(photo)
    print(f"Ada: [photo {photo.name}]")
    started = time.monotonic()
    seen: dict[int, str] = {}
    voice_is_sent = False
    while True:
        message = await _next_word(chat, seen, process)
        seen[message.id] = message.text
        if message.video:
            print(f"Bot: [video] {time.monotonic() - started:.1f} s after the voice note, as a reply to it")
            return message
        print(f"Bot: {message.text}")
        if texts.BUTTON_USE_ANYWAY in message.buttons:
            print(f"Ada: [{texts.BUTTON_USE_ANYWAY}]")
            await chat.press(message, texts.BUTTON_USE_ANYWAY)
        elif message.text in _refusals():
            raise DemoFailed("The bot can't use this file.")
        elif not voice_is_sent:
            await chat.send_voice(voice)
            print(f"Ada: [voice note {voice.name}]")
            started = time.monotonic()
            voice_is_sent = True


async def _next_word(chat: Chat, seen: Mapping[int, str], process: Process) -> Message:
    """The next thing that the bot says, or changes; raises `DemoFailed` where it died instead."""

    def is_new(message: Message) -> bool:
        return message.is_from_bot and (seen.get(message.id) != message.text or message.video is not None)

    word = asyncio.create_task(chat.wait_for(is_new, timeout_seconds=_PATIENCE_SECONDS))
    death = asyncio.create_task(process.wait())
    try:
        await asyncio.wait((word, death), return_when=asyncio.FIRST_COMPLETED)
        if not word.done():
            raise DemoFailed(f"The bot ended with exit status {process.returncode}.")
        return word.result()
    finally:
        word.cancel()
        death.cancel()


def _refusals() -> set[str]:
    words = texts.words_for(None)
    max_voice = words.duration(_MAX_VOICE_SECONDS)
    return {
        words(refusal, max_voice=max_voice, max_file=TELEGRAMS_OWN.down >> 20) for refusal in texts.REFUSALS.values()
    }


def _settings(telegram: BotApi, akool: Akool, folder: Path) -> dict[str, str]:
    port = _free_port()
    return {
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "TELEGRAM_API_URL": telegram.root_url,
        "AKOOL_API_KEY": akool.account.client_secret,
        "AKOOL_CLIENT_ID": akool.account.client_id,
        "AKOOL_API_URL": akool.root_url,
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PORT": str(port),
        "DATA_DIR": str(folder / "data"),
        "ALLOWED_USERS": "*",
        "MAX_VOICE_SECONDS": str(_MAX_VOICE_SECONDS),
        "LOG_LEVEL": "WARNING",
    }


@asynccontextmanager
async def _bot(settings: Mapping[str, str], folder: Path) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "run", env=_environment(settings), cwd=folder, stdin=DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """No setting of the machine reaches the demo; it runs in a folder without a `.env`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(settings)


async def _print_timeline(settings: Mapping[str, str], folder: Path, akool: Akool) -> None:
    """What happened on the way, as `python -m bot jobs` tells it while the bot runs."""
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "jobs", "--json", env=_environment(settings), cwd=folder, stdout=PIPE
    )
    answer, _ = await asking.communicate()
    job = json.loads(answer.splitlines()[0])
    story = job["story"]
    print("\nWhat happened to the job:")
    for (state, since), (_, until) in zip(story, [*story[1:], story[-1]], strict=True):
        print(f"  {state:<11} {(until - since) / 1000:6.2f} s" if until > since else f"  {state}")
    print(
        f"AKOOL was asked for a video {len(akool.creates)} time(s), and how it stands {len(akool.questions)} time(s)."
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
