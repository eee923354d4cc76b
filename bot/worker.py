"""A loop that does what is due. The queue is a WHERE clause in the database; memory carries only a doorbell."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar

import structlog

from bot.clock import Clock
from bot.troubles import Outage, will_pass

Item = TypeVar("Item")
Found_co = TypeVar("Found_co", covariant=True)
log = structlog.get_logger()

_AFTER_TROUBLE_SECONDS = 1.0
_SHORTEST_PAUSE_SECONDS = 0.01


class Queue(Protocol[Found_co]):
    """Where work is found: rows with a due time."""

    async def claim(self, most: int, *, lease_ms: int) -> Sequence[Found_co]:
        """Take up to so many due items; nobody else gets them before the lease is over."""
        ...

    async def next_due(self) -> int | None:
        """When to look again (ms since the epoch); None: not foreseeable."""
        ...


class Worker(Generic[Item]):
    """Claims due items, up to `at_once` of them, and does each in a task of its own.

    `do(item)` leaves its outcome in the database; an exception that it lets through is only logged. What becomes due
    without `bell` being rung is seen after `idle_seconds` at the latest.

    `beat_at` is when the queue was last read; `turns` goes up also where it can't be, unless the loop is stuck.
    """

    def __init__(
        self,
        name: str,
        *,
        queue: Queue[Item],
        do: Callable[[Item], Awaitable[None]],
        bell: asyncio.Event,
        clock: Clock,
        at_once: int,
        idle_seconds: float,
        lease_ms: int,
    ) -> None:
        self.name = name
        self.beat_at = clock.now()
        self.turns = 0
        self._queue = queue
        self._do = do
        self._clock = clock
        self._at_once = at_once
        self._idle_seconds = idle_seconds
        self._lease_ms = lease_ms
        self._bell = bell
        self._stopping = False
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until `stop` is called."""
        outage = Outage(self._clock, "the queue can't be read; trying again", worker=self.name)
        while not self._stopping:
            self.turns += 1
            self._bell.clear()
            try:
                pause = await self._pause()
                if pause <= 0:
                    await self._take()
                    pause = await self._pause()
                self.beat_at = self._clock.now()
                outage.is_over()
            except Exception as error:  # noqa: BLE001 - whatever it is, the loop goes on
                outage.goes_on(error, exc_info=True)
                pause = _AFTER_TROUBLE_SECONDS
            await self._clock.wait(self._bell, seconds=max(pause, _SHORTEST_PAUSE_SECONDS))

    async def stop(self, *, grace_seconds: float) -> None:
        """Take nothing new, let what runs finish, and cancel what is not done within the grace."""
        self._stopping = True
        self._bell.set()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_seconds)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _take(self) -> None:
        free = self._at_once - len(self._running)
        if free <= 0 or self._stopping:
            return
        for item in await self._queue.claim(free, lease_ms=self._lease_ms):
            task = asyncio.create_task(self._do_one(item), name=self.name)
            self._running.add(task)
            task.add_done_callback(self._done)

    async def _do_one(self, item: Item) -> None:
        try:
            await self._do(item)
        except Exception as error:
            level = logging.WARNING if will_pass(error) else logging.ERROR
            log.log(level, "an item was left to its lease", worker=self.name, exc_info=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._bell.set()  # a place is free, and what was done may be due again soon

    async def _pause(self) -> float:
        if len(self._running) >= self._at_once:
            return self._idle_seconds
        due_at = await self._queue.next_due()
        if due_at is None:
            return self._idle_seconds
        return min((due_at - self._clock.now()) / 1000, self._idle_seconds)
