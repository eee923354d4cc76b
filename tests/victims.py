"""Our end of `victim.py`: starting the service as processes that can be struck down, and watching them."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from victim import LONGEST_MESSAGE, Wire

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 90


@dataclass(frozen=True, order=True)
class Hook:
    """A place, and which time that it is come to counts."""

    name: str
    occurrence: int = 1

    def __str__(self) -> str:
        return f"{self.name} #{self.occurrence}"


@dataclass(eq=False)
class Victim:
    """A process of the service."""

    pid: int
    channel: socket.socket
    passed: list[str] = field(default_factory=list)
    struck_at: str | None = None
    is_up: bool = False
    is_dead: bool = False
    has_stopped_well: bool = False
    _obeyed: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def watch(self) -> None:
        self.channel.setblocking(False)  # noqa: FBT003 - the standard library's signature
        asyncio.get_running_loop().add_reader(self.channel, self._hear)

    def _hear(self) -> None:
        try:
            data = self.channel.recv(LONGEST_MESSAGE)
        except ConnectionResetError:  # an order that it did not live to read; its last words come after this
            return
        if not data:
            self.is_dead = True
            self.forget()
        else:
            self._take(json.loads(data))
        self._changed.set()
        self._changed.clear()  # who waits is woken all the same

    def _take(self, news: Wire) -> None:
        match news:
            case {"passed": hook}:
                self.passed.append(hook)
            case {"struck": hook}:
                self.struck_at = hook
            case {"obeyed": _}:
                self._obeyed += 1
            case {"up": _}:
                self.is_up = True
            case {"stopped": _}:
                self.has_stopped_well = True

    def forget(self) -> None:
        """Watch it no more."""
        if self.channel.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.channel)
            self.channel.close()

    async def until(self, look: Callable[[], object]) -> None:
        """Wait until it has done something, or is dead."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not look() and not self.is_dead:
                await self._changed.wait()

    async def order(self, **order: Any) -> None:
        """Let it `record` the hooks that it passes, or be struck at one; without more: neither any longer."""
        obeyed = self._obeyed
        self.struck_at = None
        try:
            self.channel.send(json.dumps(order).encode())
        except OSError:  # it is dying
            await self.death()
        await self.until(lambda: self._obeyed > obeyed or self.struck_at)

    async def be_struck(self, hook: Hook, number: signal.Signals) -> None:
        """At this hook, counted from now on."""
        await self.order(hook=hook.name, occurrence=hook.occurrence, signal=number)

    def send(self, number: signal.Signals) -> None:
        if not self.is_dead:
            os.kill(self.pid, number)

    async def birth(self) -> None:
        """Wait until it serves; or until it is dead, where it found what it could not start with."""
        await self.until(lambda: self.is_up)

    async def death(self) -> None:
        await self.until(lambda: False)

    async def strike(self) -> None:
        await self.until(lambda: self.struck_at)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal that it does not live through."""
        self.send(number)
        await self.death()


class ForkServer:
    """Starts victims, each within a moment."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests

    def start(
        self,
        settings: Mapping[str, Any],
        *,
        environment: Mapping[str, str],
        clock: Mapping[str, Any],
        log: Path,
        order: Wire | None = None,
    ) -> Victim:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request = json.dumps({"settings": settings, "environment": environment, "clock": clock, "order": order or {}})
        with theirs, log.open("ab") as output:
            socket.send_fds(self._requests, [request.encode()], [theirs.fileno(), output.fileno()])
            pid = int(self._requests.recv(LONGEST_MESSAGE))
        victim = Victim(pid, ours)
        victim.watch()
        return victim


@contextmanager
def fork_server() -> Iterator[ForkServer]:
    """Run a fork server until the end of the block; its victims end with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, TemporaryDirectory() as empty:
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment |= {"PYTHONPATH": str(ROOT), "SSL_CERT_DIR": empty}  # all is plain http: spare it the certificates
        command = (sys.executable, str(ROOT / "tests" / "victim.py"), str(theirs.fileno()))
        process = subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], cwd=empty)  # noqa: S603 - our own
        theirs.close()
        try:
            if ours.recv(LONGEST_MESSAGE) != b"ready":
                raise RuntimeError("the fork server did not start")
            yield ForkServer(ours)
        finally:
            ours.close()
            process.wait(PATIENCE_SECONDS)


@pytest.fixture(scope="session")
def victims() -> Iterator[ForkServer]:
    with fork_server() as server:
        yield server
