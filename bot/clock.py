"""The one clock. Everything that waits or stamps asks it, so that a test can turn it."""

import asyncio
import time
from contextlib import suppress


class Clock:
    def now(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    async def wait(self, bell: asyncio.Event, *, seconds: float) -> None:
        """Return when the bell is rung, or after so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await bell.wait()
