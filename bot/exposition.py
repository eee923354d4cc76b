"""What is served at `/metrics`: the instruments of this process, and what the database and the loops tell now."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from bot.clock import Clock
from bot.health import Part
from bot.metrics import REGISTRY
from bot.worker import Worker
from storage.alarms import Alarms
from storage.engine import DATABASE_ERRORS
from storage.jobs import Jobs
from storage.updates import Updates


class Exposition:
    """Gauges that are read when they are asked for, so that they are true after a restart too.

    Those of the database are the same on all replicas, and left out while it does not answer.
    """

    def __init__(
        self,
        *,
        jobs: Jobs,
        updates: Updates,
        alarms: Alarms,
        workers: Sequence[Worker[object]],
        health: Callable[[], Awaitable[Mapping[str, Part]]],
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._updates = updates
        self._alarms = alarms
        self._workers = workers
        self._health = health
        self._clock = clock
        self._stored = stored = CollectorRegistry()
        self._by_state = Gauge("talkbot_jobs", "Jobs that have not ended, by state", ["state"], registry=stored)
        self._queue_age = Gauge("talkbot_queue_age_seconds", "How long the oldest job is in the queue", registry=stored)
        self._set_aside = Gauge("talkbot_updates_set_aside", "Updates that can't be handled", registry=stored)
        self._alarms_open = Gauge("talkbot_alarms_open", "Troubles that are not over", registry=stored)
        self._here = here = CollectorRegistry()
        self._ready = Gauge("talkbot_ready", "Whether a part does its work", ["part"], registry=here)
        self._part_age = Gauge(
            "talkbot_part_age_seconds", "Time since a part was last seen at work", ["part"], registry=here
        )
        self._beat_age = Gauge(
            "talkbot_beat_age_seconds", "Time since a loop last looked for work", ["loop"], registry=here
        )

    async def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        parts = await self._health()
        for name, part in parts.items():
            self._ready.labels(name).set(part.ok)
            if part.age_seconds is not None:
                self._part_age.labels(name).set(part.age_seconds)
        for worker in self._workers:
            self._beat_age.labels(worker.name).set((self._clock.now() - worker.beat_at) / 1000)
        stored = await self._from_the_database() if parts["database"].ok else b""
        return stored + generate_latest(self._here) + generate_latest(REGISTRY)

    async def _from_the_database(self) -> bytes:
        try:
            counts = await self._jobs.counts()
            queued_at = await self._jobs.oldest_queued_at()
            self._set_aside.set(await self._updates.count_set_aside())
            self._alarms_open.set(await self._alarms.count_open())
        except DATABASE_ERRORS:  # it has just gone; what it told before is no longer true
            return b""
        for state, count in counts.items():
            self._by_state.labels(state).set(count)
        self._queue_age.set(0 if queued_at is None else (self._clock.now() - queued_at) / 1000)
        return generate_latest(self._stored)
