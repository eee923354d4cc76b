"""The service's pulse: the event loop's own beat, how late it is, and who is told that all is well."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from bot import metrics
from bot.clock import Clock
from bot.loops import alongside
from bot.notify import ALIVE, READY, STOPPING, Notifier
from bot.watchdog import Watchdog

_BEAT_SECONDS = 1.0


@asynccontextmanager
async def watched(
    signs: Mapping[str, Callable[[], int]], clock: Clock, notifier: Notifier | None = None
) -> AsyncIterator[None]:
    """Until the end of the block the parts of a running service are watched, by a watchdog of ours and by systemd.

    `signs` are counters that each part turns for as long as it is not stuck.
    """
    notifier = notifier or Notifier()
    pulse = Pulse()
    watchdog = Watchdog({"event loop": lambda: pulse.turns, **signs}, clock)

    def pat() -> None:
        if watchdog.stuck is None:
            notifier.say(ALIVE)

    watchdog.start()
    notifier.say(READY)
    try:
        async with alongside(pulse.run(pat), name="pulse"):
            yield
    finally:
        watchdog.stop()
        notifier.say(STOPPING)


class Pulse:
    """Beats in real time, whatever the clock says: it is the loop that is watched."""

    def __init__(self) -> None:
        self.turns = 0

    async def run(self, pat: Callable[[], None]) -> None:
        """Beat until cancelled, and each time call `pat`."""
        while True:
            due = time.monotonic() + _BEAT_SECONDS
            await asyncio.sleep(_BEAT_SECONDS)
            metrics.LOOP_LAG.observe(max(0.0, time.monotonic() - due))
            self.turns += 1
            pat()
