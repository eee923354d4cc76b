"""Runs one whole job through whatever starts the service, then stops it: `deploy/prove_service.py COMMAND...`.

The command gets the settings in its environment. Telegram and AKOOL are the sandbox's, on loopback, so the command must
share this machine's network. Exit status 0: the bot got ready, sent the video, and ended by SIGTERM with status 0.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from bot.sandbox import Akool, BotApi  # noqa: E402 - found only now

_SAMPLES = ROOT / "bot" / "sandbox" / "samples"
_READY_SECONDS = 60
_VIDEO_SECONDS = 120
_STOP_SECONDS = 20


async def prove(command: Sequence[str]) -> None:
    """Raises `TimeoutError` or `RuntimeError` where the service does not do its work."""
    telegram, akool = BotApi(), Akool()
    async with telegram.serving() as telegram_url, akool.serving() as akool_url:
        port = _free_port()
        settings = {
            "TELEGRAM_BOT_TOKEN": telegram.token,
            "TELEGRAM_API_URL": telegram_url,
            "AKOOL_API_KEY": akool.account.client_secret,
            "AKOOL_CLIENT_ID": akool.account.client_id,
            "AKOOL_API_URL": akool_url,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "PORT": str(port),
            "ALLOWED_USERS": "*",
        }
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(*command, env=os.environ | settings, start_new_session=True)
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await _until_ready(process, settings["PUBLIC_URL"])
            print(f"ready after {time.monotonic() - began:.1f} s")
            ada = telegram.private_chat()
            await ada.send_photo(_SAMPLES / "photo.jpg")
            await ada.send_voice(_SAMPLES / "voice.ogg")
            message = await ada.wait_for(lambda message: message.video, timeout_seconds=_VIDEO_SECONDS)
            print(f"a video of {len(message.file.data)} bytes came" if message.file else "a video came")
            began = time.monotonic()
            os.killpg(process.pid, signal.SIGTERM)
            async with asyncio.timeout(_STOP_SECONDS):
                status = await process.wait()
            print(f"ended with status {status}, {time.monotonic() - began:.1f} s after SIGTERM")
            if status:
                raise RuntimeError("the service did not end well")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


async def _until_ready(process: Process, root_url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        while process.returncode is None:
            with suppress(httpx.TransportError):
                if (await http.get(f"{root_url}/healthz")).is_success:
                    return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the service ended with status {process.returncode}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    asyncio.run(prove(sys.argv[1:]))
