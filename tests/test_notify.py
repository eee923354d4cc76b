"""What systemd hears of the service, over a real socket."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from bot import pulse
from bot.notify import READY, Notifier
from bot.pulse import watched
from bot.watchdog import Watchdog
from clocks import TurnableClock
from world import world


@contextmanager
def systemd(address: str) -> Iterator[socket.socket]:
    """Somebody who listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)  # noqa: FBT003 - the library's own
        yield listener


async def heard(listener: socket.socket) -> str:
    async with asyncio.timeout(10):
        return (await asyncio.get_running_loop().sock_recv(listener, 4096)).decode()


async def test_systemd_hears_that_the_service_runs_is_alive_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with systemd(address) as listener:
        async with world(tmp_path):
            said = [await heard(listener), await heard(listener)]
        said.append(await heard(listener))

    assert said == ["READY=1", "WATCHDOG=1", "STOPPING=1"]


async def test_systemd_hears_nothing_more_of_a_service_of_which_a_part_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Barking(Watchdog):
        stuck = "tracker"

    monkeypatch.setattr(pulse, "Watchdog", Barking)
    monkeypatch.setattr(pulse, "_BEAT_SECONDS", 0.0)
    address = str(tmp_path / "notify")
    with systemd(address) as listener:
        async with watched({}, TurnableClock(), Notifier({"NOTIFY_SOCKET": address})):
            for _ in range(10):
                await asyncio.sleep(0)
        said = [await heard(listener), await heard(listener)]

    assert said == ["READY=1", "STOPPING=1"]


async def test_an_abstract_socket_is_found() -> None:
    """Systemd may name one that is no file, with an @ before it."""
    name = f"talkbot-{uuid4()}"
    with systemd(f"\0{name}") as listener:
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).say(READY)

        assert await heard(listener) == "READY=1"


def test_without_systemd_nothing_is_said() -> None:
    with capture_logs() as logs:
        Notifier({}).say(READY)

    assert logs == []


def test_a_listener_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    """It is told once, not every second."""
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    with capture_logs() as logs:
        notifier.say(READY)
        notifier.say(READY)

    assert [line["error"] for line in logs] == ["FileNotFoundError"]
