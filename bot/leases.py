"""Keeping a claim while its work goes on, so that nobody else does the same beside it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from bot.clock import Clock
from bot.patience import LEASE_MS, SECOND_MS
from bot.troubles import Outage
from storage.engine import DATABASE_ERRORS
from storage.jobs import Overtaken

log = structlog.get_logger()


async def keeping_the_lease(
    work: Coroutine[Any, Any, None], *, extend: Callable[[], Awaitable[None]], clock: Clock
) -> None:
    """Do the work, and `extend` its claim three times a lease meanwhile.

    Where one of the two raises `Overtaken` the work ends quietly: somebody else does it now. What else the work raises
    comes as an `ExceptionGroup`.
    """
    try:
        async with asyncio.TaskGroup() as tasks:
            lease = tasks.create_task(_extend_for_ever(extend, clock))
            await work
            lease.cancel()
    except* Overtaken:
        log.debug("somebody else has it now")


async def _extend_for_ever(extend: Callable[[], Awaitable[None]], clock: Clock) -> None:
    bell = asyncio.Event()
    outage = Outage(clock, "a lease can't be extended; trying again")
    while True:
        await clock.wait(bell, seconds=LEASE_MS / SECOND_MS / 3)
        try:
            await extend()
        except DATABASE_ERRORS as error:  # no reason to break off a call that may be paid for
            outage.goes_on(error, exc_info=True)
        else:
            outage.is_over()
