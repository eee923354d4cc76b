"""The service as a process that can be struck down, and a fork server that has one ready in a moment.

Run as a program, with the number of a socket: it imports everything that the service needs, then forks a victim for
each request that comes over the socket (`victims.py` is the other end). A victim runs `bot.app.running`, as the
command does, with a clock that runs faster than ours and with the hooks of `hooks.py`. It obeys a channel: struck at a
hook it says so and stops itself, by SIGKILL or by SIGSTOP. The end of the channel is the end of the victim.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from importlib import import_module
from mmap import mmap
from pathlib import Path
from struct import Struct
from tempfile import TemporaryDirectory
from typing import Any

import hooks
import storage.upgrade  # noqa: F401 - so that no victim has to
from bot import logs
from bot.app import running
from bot.clock import Clock
from bot.config import Settings
from bot.media.picture import make_picture
from bot.media.sound import make_sound
from bot.media.video import make_thumbnail, probe_video
from media_samples import PORTRAIT, sound
from world import tiny_mp4

Wire = dict[str, Any]

LONGEST_MESSAGE = 1 << 16
TURNED = Struct("d")

_LOADED_LATE = (
    "aiosqlite",
    "anyio._backends._asyncio",
    "asyncpg",
    "boto3",
    "botocore.config",
    "httpcore",
    "uvicorn.lifespan.off",
    "uvicorn.protocols.http.h11_impl",
)


class FastClock(Clock):
    """Runs `rate` times as fast as ours since `epoch`, plus what a file says: all processes of a stage agree."""

    def __init__(self, *, epoch: float, rate: float, turned: str) -> None:
        self._epoch = epoch
        self._rate = rate
        with Path(turned).open("r+b") as file:
            self._turned_seconds = mmap(file.fileno(), TURNED.size)
        self._looking_again = asyncio.Event()

    def now(self) -> int:
        (turned_seconds,) = TURNED.unpack(self._turned_seconds[:])
        return int((self._epoch + (time.time() - self._epoch) * self._rate + turned_seconds) * 1000)

    async def wait(self, bell: asyncio.Event, *, seconds: float) -> None:
        until = self.now() + seconds * 1000
        while not bell.is_set() and (left_ms := until - self.now()) > 0:
            waits = [asyncio.ensure_future(event.wait()) for event in (bell, self._looking_again)]
            try:
                timeout = left_ms / 1000 / self._rate
                await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waits:
                    task.cancel()

    def look_again(self) -> None:
        """It may have been turned: who waits for it, wakes."""
        self._looking_again.set()
        self._looking_again.clear()


class Victim:
    """One run of the service, and the orders that come over its channel."""

    def __init__(self, channel: socket.socket, request: Wire) -> None:
        self._channel = channel
        self._request = request
        self._clock = FastClock(**request["clock"])
        self._hook: str | None = None
        self._passes = 0
        self._signal = 0
        self._is_recording = False
        self._obey(request["order"])

    async def live(self) -> None:
        """Run the service until SIGTERM."""
        service = asyncio.current_task()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, service.cancel if service else lambda: None)
        loop.add_reader(self._channel, self._listen)
        os.environ.update(self._request["environment"])
        settings = Settings(_env_file=None, **self._request["settings"])  # type: ignore[call-arg]
        hooks.install(self._passed)
        try:
            async with running(settings, self._clock, sets_profile=False):
                self._tell(up=True)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._tell(stopped=True)

    def _listen(self) -> None:
        order = self._channel.recv(LONGEST_MESSAGE)
        if not order:
            os._exit(1)  # nobody is left to live for
        self._obey(json.loads(order))
        self._tell(obeyed=True)

    def _obey(self, order: Wire) -> None:
        """What an order leaves out is no more."""
        self._clock.look_again()
        self._is_recording = order.get("record", False)
        self._hook, self._passes, self._signal = order.get("hook"), order.get("occurrence", 1), order.get("signal", 0)

    def _passed(self, hook: str) -> None:
        if self._is_recording:
            self._tell(passed=hook)
        if hook == self._hook:
            self._passes -= 1
            if self._passes == 0:
                self._hook = None
                self._tell(struck=hook)
                os.kill(os.getpid(), self._signal)

    def _tell(self, **news: Any) -> None:
        self._channel.send(json.dumps(news).encode())


def _warm_up() -> None:
    """Load what is otherwise loaded when it is first needed."""
    for name in _LOADED_LATE:
        import_module(name)
    with TemporaryDirectory() as name:
        folder = Path(name)
        make_picture(PORTRAIT, folder / "photo.jpg")
        (folder / "voice.ogg").write_bytes(sound(seconds=1))
        make_sound(folder / "voice.ogg", folder / "voice.mp3", max_seconds=60)
        (folder / "video.mp4").write_bytes(tiny_mp4())
        probe_video(folder / "video.mp4")
        make_thumbnail(folder / "video.mp4", folder / "thumbnail.jpg")


def _fork(requests: socket.socket) -> Callable[[], None] | None:
    """Serve requests. Returns in each victim, with what it is to do; and None here, when no more requests can come."""
    living: set[int] = set()
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, LONGEST_MESSAGE, 2)
        while living and (dead := os.waitpid(-1, os.WNOHANG)[0]):
            living.discard(dead)
        if not data:
            for pid in living:
                os.kill(pid, signal.SIGKILL)
            return None
        channel, output = descriptors
        pid = os.fork()
        if pid == 0:
            requests.close()
            for standard in (1, 2):
                os.dup2(output, standard)
            return lambda: _be_victim(socket.socket(fileno=channel), json.loads(data))
        os.close(channel)
        os.close(output)
        living.add(pid)
        requests.send(str(pid).encode())


def _be_victim(channel: socket.socket, request: Wire) -> None:
    logs.set_up(level="INFO")
    asyncio.run(Victim(channel, request).live())


def main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    _warm_up()
    gc.collect()
    gc.freeze()
    requests.send(b"ready")
    if victim := _fork(requests):
        victim()


if __name__ == "__main__":
    main()
