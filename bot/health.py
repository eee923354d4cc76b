"""Whether each part of the service does its work, and since when it was last seen to."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bot.clock import Clock
from bot.patience import MINUTE_MS, SECOND_MS
from bot.probe import Probe

_UPDATES_STALE_MS = 3 * MINUTE_MS
_TRACKER_STALE_MS = MINUTE_MS


@dataclass(frozen=True, slots=True)
class Part:
    """`age_seconds` is the time since it was last seen at work; None where it never was, or that means nothing."""

    ok: bool
    age_seconds: float | None = None


class Health:
    """`fetched_at` and `beat_at` tell when updates were last fetched, and when the tracker last looked for work.

    Without `fetched_at` they come by webhook: when people write, so that silence means nothing.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        database: Probe,
        store: Probe,
        fetched_at: Callable[[], int] | None,
        beat_at: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._database = database
        self._store = store
        self._fetched_at = fetched_at
        self._beat_at = beat_at
        self.is_stopping = False

    async def parts(self) -> dict[str, Part]:
        """Each part as it is now."""
        database_works, store_works = await asyncio.gather(self._database.works(), self._store.works())
        return {
            "database": Part(database_works, self._age_seconds(self._database.worked_at)),
            "store": Part(store_works, self._age_seconds(self._store.worked_at)),
            "updates": self._fresh(self._fetched_at(), _UPDATES_STALE_MS) if self._fetched_at else Part(ok=True),
            "tracker": self._fresh(self._beat_at(), _TRACKER_STALE_MS),
            "running": Part(not self.is_stopping),
        }

    def _fresh(self, at: int, stale_ms: int) -> Part:
        return Part(self._clock.now() - at < stale_ms, self._age_seconds(at))

    def _age_seconds(self, at: int | None) -> float | None:
        return None if at is None else (self._clock.now() - at) / SECOND_MS
