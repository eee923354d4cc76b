"""Readiness asks its parts in a way that can't do harm itself."""

import asyncio

import pytest

from bot import probe
from bot.probe import Probe
from clocks import TurnableClock


class Part:
    """Something to ask, which answers when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer = asyncio.Event()
        self.trouble: Exception | None = None

    async def check(self) -> None:
        self.asked += 1
        await self.answer.wait()
        if self.trouble:
            raise self.trouble


async def test_many_who_ask_at_once_are_one_question() -> None:
    part = Part()
    asking = Probe("part", part.check, TurnableClock(), OSError)
    everybody = asyncio.gather(*(asking.works() for _ in range(100)))
    await asyncio.sleep(0)
    part.answer.set()
    assert set(await everybody) == {True}
    assert part.asked == 1

    part.trouble = OSError("broken")
    assert not await asking.works()
    assert part.asked == 2


async def test_a_part_that_does_not_answer_does_not_work_and_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until its answer comes, however late."""
    monkeypatch.setattr(probe, "_PATIENCE_SECONDS", 0.01)  # a constant, so that nobody waits
    part = Part()
    asking = Probe("part", part.check, TurnableClock())
    assert [await asking.works() for _ in range(3)] == [False] * 3
    assert part.asked == 1

    part.answer.set()
    assert await asking.works()
