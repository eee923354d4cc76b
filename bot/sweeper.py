"""Now and then: old rows are forgotten, and objects that nobody needs any more are deleted."""

import asyncio
from collections.abc import AsyncIterator

import structlog

from bot.clock import Clock
from bot.patience import DAY_MS, HOUR_MS, SECOND_MS
from storage.engine import DATABASE_ERRORS
from storage.notices import Notices
from storage.objects import ObjectStore, StoreError
from storage.replicas import Held
from storage.retention import Retention
from storage.updates import Updates

log = structlog.get_logger()

_EVERY_MS = 6 * HOUR_MS
_LOOK_EVERY_MS = HOUR_MS
_ROWS_KEPT_MS = 3 * DAY_MS  # Telegram repeats an unacknowledged update for 24 hours
_ORPHANS_KEPT_MS = DAY_MS  # an object is put before its row names it
_BATCH = 500


class Sweeper:
    def __init__(
        self,
        updates: Updates,
        notices: Notices,
        retention: Retention,
        store: ObjectStore,
        clock: Clock,
        *,
        retention_days: float,
    ) -> None:
        self._updates = updates
        self._notices = notices
        self._retention = retention
        self._store = store
        self._clock = clock
        self._kept_ms = int(retention_days * DAY_MS)
        self._notice = f"sweeping for {self._kept_ms}"  # who keeps less from now on does not wait

    async def run(self, duty: Held) -> None:
        """Sweep every few hours, until cancelled; where there are replicas, only one of them does."""
        while True:
            try:
                async with duty.for_now() as is_ours:
                    if is_ours and await self._notices.is_new(self._notice, for_ms=_EVERY_MS):
                        await self.sweep()
            except (*DATABASE_ERRORS, StoreError):
                log.warning("the sweeping was cut short; it goes on next time", exc_info=True)
            await self._clock.wait(asyncio.Event(), seconds=_LOOK_EVERY_MS / SECOND_MS)

    async def sweep(self) -> None:
        await self._updates.prune(older_than_ms=_ROWS_KEPT_MS)
        await self._notices.prune(older_than_ms=_ROWS_KEPT_MS)
        await self._retention.let_go(ended_before_ms=self._clock.now() - self._kept_ms)
        await self._store.tidy()
        deleted = 0
        async for keys in self._old_objects():
            for key in await self._retention.orphans_among(keys):
                await self._store.delete(key)
                log.debug("an object was deleted", key=key)
                deleted += 1
        log.info("what nobody needs any more is gone", objects=deleted)

    async def _old_objects(self) -> AsyncIterator[list[str]]:
        """The keys of objects that are no longer new, in batches."""
        before = self._clock.now() - _ORPHANS_KEPT_MS
        batch: list[str] = []
        async for key, written_at in self._store.keys():
            if written_at < before:
                batch.append(key)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
