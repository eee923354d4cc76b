"""A process of which a part is stuck ends itself; one that had only slept, or can't reach anybody, does not."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from structlog.testing import capture_logs

from bot import pulse
from bot.intake import Intake, Poller
from bot.watchdog import LIMIT_SECONDS, Watchdog
from bot.worker import Worker
from clocks import TurnableClock
from storage.database import Database
from storage.replicas import Duty, Held
from storage.updates import Updates
from world import world

ROOT = Path(__file__).parent.parent
LOOK_SECONDS = 5.0

FINE_AND_THEN_BLOCKED = """
import asyncio, time
from bot import logs, watchdog
from bot.clock import Clock

turns = 0

async def main():
    global turns
    watchdog.Watchdog({"event loop": lambda: turns}, Clock(), limit_seconds=0.5, look_seconds=0.05).start()
    for _ in range(100):
        await asyncio.sleep(0.01)
        turns += 1
    print("fine so far", flush=True)
    time.sleep(60)

logs.set_up(style="json")
asyncio.run(main())
"""


class Kennel:
    """A watchdog that is looked after by hand: who turns, how time passes, and whether it has bitten."""

    def __init__(self, *parts: str) -> None:
        self.clock = TurnableClock()
        self.turns = dict.fromkeys(parts, 0)
        self.ends = 0
        signs = {part: lambda part=part: self.turns[part] for part in parts}
        self.watchdog = Watchdog(signs, self.clock, look_seconds=LOOK_SECONDS, end=self._end)

    def _end(self) -> None:
        self.ends += 1

    def pass_time(self, seconds: float, *, turning: tuple[str, ...] = (), step: float = LOOK_SECONDS) -> None:
        """Let so much time pass, with a look each `step` seconds."""
        for _ in range(round(seconds / step)):
            self.clock.turn(seconds=step)
            for part in turning:
                self.turns[part] += 1
            self.watchdog.look()


def test_a_part_that_is_still_for_five_minutes_ends_the_process_and_is_named() -> None:
    kennel = Kennel("event loop", "tracker")
    with capture_logs() as logs:
        kennel.pass_time(LIMIT_SECONDS - LOOK_SECONDS, turning=("event loop",))
        assert (kennel.ends, kennel.watchdog.stuck) == (0, None)
        kennel.pass_time(LOOK_SECONDS, turning=("event loop",))

    assert kennel.ends == 1
    assert [(line["log_level"], line["part"], line["stuck_seconds"]) for line in logs] == [("critical", "tracker", 300)]


def test_a_part_that_moves_once_in_a_while_is_let_live() -> None:
    kennel = Kennel("tracker")
    for _ in range(4):
        kennel.pass_time(LIMIT_SECONDS - LOOK_SECONDS)
        kennel.pass_time(LOOK_SECONDS, turning=("tracker",))

    assert kennel.ends == 0


@pytest.mark.parametrize("jump_seconds", [86_400, -86_400])
def test_who_slept_or_whose_clock_was_set_is_let_live(jump_seconds: float) -> None:
    """The time in which the watchdog itself did not look is nobody's fault."""
    kennel = Kennel("tracker")
    kennel.pass_time(LIMIT_SECONDS / 2)
    kennel.clock.turn(seconds=jump_seconds)
    kennel.watchdog.look()

    assert kennel.ends == 0


def test_a_process_with_a_blocked_event_loop_ends_with_a_clear_line() -> None:
    command = [sys.executable, "-c", FINE_AND_THEN_BLOCKED]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)  # noqa: S603

    assert (process.returncode, process.stdout) == (1, "fine so far\n")
    (line,) = process.stderr.splitlines()
    assert '"part": "event loop"' in line
    assert '"level": "critical"' in line


async def keep_turning(clock: TurnableClock, *, until: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not until():
            clock.turn(seconds=60)
            await asyncio.sleep(0.005)  # a running service has much to do whenever time passes


class NoDatabase:
    """A queue that can't be read."""

    async def claim(self, most: int, *, lease_ms: int) -> Sequence[None]:
        raise OSError

    async def next_due(self) -> int | None:
        raise OSError


async def test_a_database_that_is_down_is_no_reason_to_end() -> None:
    """A loop that tries and fails turns its counter, though it does not beat."""
    clock = TurnableClock()
    bell = asyncio.Event()
    worker = Worker(
        "tracker", queue=NoDatabase(), do=_nothing, bell=bell, clock=clock, at_once=1, idle_seconds=15, lease_ms=1000
    )
    born_at = worker.beat_at
    running = asyncio.create_task(worker.run())
    await keep_turning(clock, until=lambda: worker.turns >= 3)
    await worker.stop(grace_seconds=0)
    await running

    assert worker.beat_at == born_at


async def _nothing(_item: None) -> None: ...


async def test_a_telegram_that_is_down_is_no_reason_to_end() -> None:
    clock = TurnableClock()
    database = Database(create_async_engine("sqlite+aiosqlite:///nothing-is-ever-stored"), clock.now)
    transport = httpx.MockTransport(lambda _request: httpx.Response(502))
    async with httpx.AsyncClient(transport=transport) as http:
        intake, duty = Intake(Updates(database), lambda: None), Held(database, Duty.UPDATES)
        poller = Poller(http, token="1:a", api_url="http://telegram.test", intake=intake, duty=duty, clock=clock)
        born_at = poller.beat_at
        polling = asyncio.create_task(poller.run())
        await keep_turning(clock, until=lambda: poller.turns >= 3)
        polling.cancel()

    assert poller.beat_at == born_at


async def test_a_running_service_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its loop, its polling and its tracker, until it stops."""
    watched: list[Watchdog] = []

    class Noted(Watchdog):
        def start(self) -> None:
            watched.append(self)
            super().start()

    monkeypatch.setattr(pulse, "Watchdog", Noted)
    clock = TurnableClock()
    async with world(tmp_path, clock=clock) as here:
        (watchdog,) = watched
        before = {part: sign() for part, sign in watchdog._signs.items()}
        await here.ada.send_text("/start")
        await keep_turning(clock, until=lambda: all(sign() > before[part] for part, sign in watchdog._signs.items()))
        assert set(before) == {"event loop", "tracker", "polling"}
        assert watchdog._thread.is_alive()
    watchdog._thread.join(10)

    assert not watchdog._thread.is_alive()
