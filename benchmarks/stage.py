"""The stage of a benchmark: a local Telegram and a local AKOOL in our process, and programs around them in their own.

What a program is charged with is what the system says of its process. The stand-ins share the machine with it, so
latencies here are an upper bound, worst where many jobs come at once.
"""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from benchmarks import media
from bot.sandbox import Akool, BotApi, Chat

BOT = ("-m", "bot", "run")
BARE = ("-m", "benchmarks.bare")

_ROOT = Path(__file__).parents[1]
_START_SECONDS = 30


@dataclass(frozen=True)
class Program:
    """A program that runs."""

    process: psutil.Process

    def cpu_seconds(self) -> float:
        """What it has used so far, in user and system mode, all threads together; in steps of 10 ms."""
        times = self.process.cpu_times()
        return times.user + times.system


@dataclass(frozen=True)
class Stage:
    telegram: BotApi
    akool: Akool
    folder: Path
    environment: dict[str, str]

    @property
    def data(self) -> Path:
        """What a program keeps on disk; it outlives the program."""
        return Path(self.environment["DATA_DIR"])

    def chats(self, count: int, *, first_id: int = 1000) -> list[Chat]:
        """So many people, each in a private chat."""
        return [self.telegram.private_chat(first_id + number) for number in range(count)]

    @asynccontextmanager
    async def running(self, program: tuple[str, ...]) -> AsyncIterator[Program]:
        """Run `python <program>` until the end of the block; its log goes to a file, as it does in earnest.

        Raises `RuntimeError` with the log where it does not ask Telegram for updates soon.
        """
        log_path = self.folder / "program.log"
        calls_before = len(self.telegram.calls)
        with log_path.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *program, env=self.environment, cwd=self.folder, stdin=DEVNULL, stdout=log, stderr=log
            )
        try:
            await self.telegram.wait_until(
                lambda: any(call.name == "getUpdates" for call in self.telegram.calls[calls_before:]),
                timeout_seconds=_START_SECONDS,
            )
            yield Program(psutil.Process(process.pid))
        except TimeoutError as error:
            raise RuntimeError(f"something did not come in time; the program's log:\n{log_path.read_text()}") from error
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Serve both until the end of the block. Renders are held, and give the same ready video when they end."""
    telegram, akool = BotApi(), Akool(renderer=_render, credit=1 << 30)
    akool.hold()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="talkbot-bench-")))
        await stack.enter_async_context(telegram.serving())
        await stack.enter_async_context(akool.serving())
        yield Stage(telegram, akool, folder, _environment(telegram, akool, folder))


def _render(_photo: Path, _audio: Path, target: Path) -> None:
    target.write_bytes(media.video())


def _environment(telegram: BotApi, akool: Akool, folder: Path) -> dict[str, str]:
    """No setting of the machine reaches a program; it runs in a folder without a `.env`."""
    port = _free_port()
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return kept | {
        "PYTHONPATH": str(_ROOT),
        "TELEGRAM_BOT_TOKEN": telegram.token,
        "TELEGRAM_API_URL": telegram.root_url,
        "AKOOL_API_KEY": akool.account.client_secret,
        "AKOOL_CLIENT_ID": akool.account.client_id,
        "AKOOL_API_URL": akool.root_url,
        "AKOOL_MAX_CONCURRENT": "2000",
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PORT": str(port),
        "DATA_DIR": str(folder / "data"),
        "ALLOWED_USERS": "*",
        "DAILY_LIMIT": "0",
    }


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
