"""A clock that tests turn."""

import asyncio

from bot.clock import Clock


class TurnableClock(Clock):
    """Stands still until it is turned; whoever waits wakes when its time has come."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = now_ms
        self._waiting: list[tuple[int, asyncio.Event]] = []

    def now(self) -> int:
        return self._now_ms

    async def wait(self, bell: asyncio.Event, *, seconds: float) -> None:
        wake = asyncio.Event()
        self._waiting.append((self._now_ms + round(seconds * 1000), wake))
        waits = [asyncio.create_task(event.wait()) for event in (bell, wake)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    def turn(self, *, seconds: float) -> None:
        """Let time pass."""
        self._now_ms += round(seconds * 1000)
        due = [entry for entry in self._waiting if entry[0] <= self._now_ms]
        self._waiting = [entry for entry in self._waiting if entry[0] > self._now_ms]
        for _, wake in due:
            wake.set()
