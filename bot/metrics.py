"""What Prometheus reads at `/metrics`."""

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from bot.clock import Clock
from bot.worker import Worker
from storage.jobs import Jobs
from storage.updates import Updates


class Metrics:
    """Gauges that are read from the database when they are asked for, so that they are true after a restart too."""

    def __init__(self, jobs: Jobs, updates: Updates, workers: list[Worker[object]], clock: Clock) -> None:
        self._jobs = jobs
        self._updates = updates
        self._workers = workers
        self._clock = clock
        self._registry = CollectorRegistry()
        self._by_state = Gauge("talkbot_jobs", "Jobs by state", ["state"], registry=self._registry)
        self._set_aside = Gauge("talkbot_updates_set_aside", "Updates that can't be handled", registry=self._registry)
        self._beat = Gauge(
            "talkbot_beat_age_seconds", "Time since a loop last looked for work", ["loop"], registry=self._registry
        )

    async def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        for state, count in (await self._jobs.counts()).items():
            self._by_state.labels(state).set(count)
        self._set_aside.set(await self._updates.count_set_aside())
        for worker in self._workers:
            self._beat.labels(worker.name).set((self._clock.now() - worker.beat_at) / 1000)
        return generate_latest(self._registry)
