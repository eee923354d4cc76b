"""Endless work beside the rest ends with it."""

import asyncio

from bot.loops import alongside


async def test_work_that_misses_its_cancellation_is_cancelled_again() -> None:
    """As it may before Python 3.12, where what it waits for comes in the same moment."""
    free, waits = asyncio.Event(), asyncio.Event()
    missed: list[str] = []

    async def loop() -> None:
        while True:
            waits.set()
            try:
                await free.wait()
            except asyncio.CancelledError:
                if missed:
                    raise
                missed.append("once")

    async with asyncio.timeout(30):
        async with alongside(loop(), name="loop"):
            await waits.wait()
    assert missed == ["once"]
