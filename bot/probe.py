"""Asking whether a part works, without waiting for long, and without asking it twice at once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from bot.clock import Clock

log = structlog.get_logger()

_PATIENCE_SECONDS = 5  # a part that takes longer does not work, whatever it answers in the end


class Probe:
    """The check of one part, whose `name` the log gives.

    `troubles` are what it raises where the part does not work. `worked_at` is when it was last seen to work (ms since
    the epoch), None: never.
    """

    def __init__(
        self, name: str, check: Callable[[], Coroutine[Any, Any, None]], clock: Clock, *troubles: type[Exception]
    ) -> None:
        self.worked_at: int | None = None
        self._name = name
        self._check = check
        self._clock = clock
        self._troubles = troubles
        self._asking: asyncio.Task[bool] | None = None

    async def works(self) -> bool:
        """Whether the part works now; whoever asks meanwhile shares the answer.

        A check that takes too long is not broken off: the database has one connection, and that would cost it.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="probe")
        await asyncio.wait({self._asking}, timeout=_PATIENCE_SECONDS)
        return self._asking.done() and self._asking.result()

    async def _ask(self) -> bool:
        try:
            await self._check()
        except self._troubles as error:
            log.warning("a part does not work", part=self._name, error=type(error).__name__)
            return False
        self.worked_at = self._clock.now()
        return True
