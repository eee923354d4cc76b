"""Ends the process when a part of it is stuck, so that whoever started it starts it anew.

A thread of its own looks, since a blocked event loop looks at nothing. Ending like that is safe: it is what the tests
that kill the service do to it all the time.
"""

import logging
import os
from collections.abc import Callable, Mapping
from threading import Event, Thread

import structlog

from bot.clock import Clock
from bot.patience import SECOND_MS

log = structlog.get_logger()

LIMIT_SECONDS = 300.0
_LOOK_SECONDS = 5.0
_LAST_WORDS_SECONDS = 5  # where nobody reads our log any more, a line may never get out


def end_process() -> None:
    """End at once, with nothing tidied up: that could be stuck as well."""
    os._exit(1)


class Watchdog:
    """Looks at counters, by the names of the parts that turn them.

    A part that tries and fails still turns its counter: an outage is no reason for a restart. Time counts only while
    the watchdog itself is awake, so that nobody is blamed for a machine that slept, or a clock that was set.
    """

    def __init__(
        self,
        signs: Mapping[str, Callable[[], int]],
        clock: Clock,
        *,
        limit_seconds: float = LIMIT_SECONDS,
        look_seconds: float = _LOOK_SECONDS,
        end: Callable[[], None] = end_process,
    ) -> None:
        self._signs = signs
        self._clock = clock
        self._limit_ms = limit_seconds * SECOND_MS
        self._look_seconds = look_seconds
        self._end = end
        self._seen = {part: sign() for part, sign in signs.items()}
        self._silent_ms = dict.fromkeys(signs, 0.0)
        self._looked_at = clock.now()
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="watchdog", daemon=True)

    @property
    def stuck(self) -> str | None:
        """The first part that has been still for too long."""
        return next((part for part, silent_ms in self._silent_ms.items() if silent_ms >= self._limit_ms), None)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._look_seconds):
            self.look()

    def look(self) -> None:
        """See who has moved since the last look, and end the process where one has not for too long."""
        now = self._clock.now()
        passed_ms = min(max(now - self._looked_at, 0), 2 * self._look_seconds * SECOND_MS)
        self._looked_at = now
        for part, sign in self._signs.items():
            turns = sign()
            self._silent_ms[part] = self._silent_ms[part] + passed_ms if turns == self._seen[part] else 0
            self._seen[part] = turns
        if self.stuck is not None:
            self._say_last_words(self.stuck)
            self._end()

    def _say_last_words(self, part: str) -> None:
        def say() -> None:
            stuck_seconds = round(self._silent_ms[part] / SECOND_MS)
            log.critical("a part is stuck: the process ends itself", part=part, stuck_seconds=stuck_seconds)
            for handler in logging.getLogger().handlers:
                handler.flush()

        speaker = Thread(target=say, name="last words", daemon=True)
        speaker.start()
        speaker.join(_LAST_WORDS_SECONDS)
