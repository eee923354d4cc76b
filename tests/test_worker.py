"""The loop that does what is due."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from bot.clock import Clock
from bot.worker import Worker
from clocks import TurnableClock


class Queue:
    """Items with a due time, and a record of what was done."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.bell = asyncio.Event()
        self.due: dict[str, int] = {}
        self.done: list[str] = []
        self.most_at_once = 0
        self.running = 0
        self.gate = asyncio.Event()
        self.changed = asyncio.Condition()
        self.broken = False
        self.gate.set()

    async def claim(self, most: int, *, lease_ms: int) -> Sequence[str]:
        if self.broken:
            self.broken = False
            raise OSError("no database")
        due = [name for name, at in self.due.items() if at <= self.clock.now()][:most]
        for name in due:
            del self.due[name]
        return due

    async def next_due(self) -> int | None:
        return min(self.due.values(), default=None)

    async def do(self, item: str) -> None:
        self.running += 1
        self.most_at_once = max(self.most_at_once, self.running)
        try:
            await self.gate.wait()
            await asyncio.sleep(0)
            if item == "bad":
                raise ValueError(item)
        finally:
            self.running -= 1
            async with self.changed:
                self.done.append(item)
                self.changed.notify_all()

    async def until_done(self, count: int) -> None:
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: len(self.done) >= count)


@asynccontextmanager
async def working(queue: Queue, *, at_once: int = 4) -> AsyncIterator[Worker[str]]:
    worker = Worker(
        "test",
        queue=queue,
        do=queue.do,
        bell=queue.bell,
        clock=queue.clock,
        at_once=at_once,
        idle_seconds=15,
        lease_ms=1000,
    )
    task = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        await worker.stop(grace_seconds=0)
        await task


@pytest.fixture
def queue() -> Queue:
    return Queue(TurnableClock())


async def test_what_is_due_is_done_and_a_bad_item_stops_nobody(queue: Queue) -> None:
    queue.due = {"bad": 0, "good": 0}
    with capture_logs() as logged:
        async with working(queue):
            await queue.until_done(2)

    assert sorted(queue.done) == ["bad", "good"]
    assert [line["log_level"] for line in logged] == ["error"], "a mistake of ours does not pass by itself"


async def test_the_bell_brings_new_work_at_once(queue: Queue) -> None:
    async with working(queue):
        queue.due["new"] = 0
        queue.bell.set()
        await queue.until_done(1)


async def test_work_of_the_future_is_done_when_its_time_comes(queue: Queue) -> None:
    clock = queue.clock
    assert isinstance(clock, TurnableClock)
    queue.due = {"now": 0, "later": clock.now() + 5000}
    async with working(queue):
        await queue.until_done(1)
        assert queue.done == ["now"]
        clock.turn(seconds=5)
        await queue.until_done(2)


async def test_no_more_than_so_many_run_at_once(queue: Queue) -> None:
    queue.due = {f"item {number}": 0 for number in range(9)}
    async with working(queue, at_once=2):
        await queue.until_done(9)

    assert queue.most_at_once == 2


async def test_a_queue_that_cannot_be_read_is_asked_again(queue: Queue) -> None:
    clock = queue.clock
    assert isinstance(clock, TurnableClock)
    queue.broken = True
    queue.due = {"item": 0}
    with capture_logs() as logged:
        async with working(queue):
            while not clock._waiting:
                await asyncio.sleep(0)
            clock.turn(seconds=1)
            await queue.until_done(1)

    assert [line["log_level"] for line in logged] == ["warning", "info"], "it passed by itself"


async def test_stopping_waits_for_what_runs_and_takes_nothing_new(queue: Queue) -> None:
    queue.gate.clear()
    queue.due = {"running": 0}
    async with working(queue) as worker:
        while not queue.running:
            await asyncio.sleep(0)
        stopping = asyncio.create_task(worker.stop(grace_seconds=5))
        await asyncio.sleep(0)
        queue.due["late"] = 0
        queue.bell.set()
        queue.gate.set()
        await stopping

    assert queue.done == ["running"]


async def test_what_does_not_finish_within_the_grace_is_cancelled(queue: Queue) -> None:
    queue.gate.clear()
    queue.due = {"stuck": 0}
    async with working(queue) as worker:
        while not queue.running:
            await asyncio.sleep(0)
        await worker.stop(grace_seconds=0)

    assert queue.running == 0
