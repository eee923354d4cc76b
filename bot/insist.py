"""Noting what only we know: an answer of AKOOL's or Telegram's that was heard and is not stored yet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bot.clock import Clock
from bot.troubles import Outage
from storage.engine import DATABASE_ERRORS

Noted = TypeVar("Noted")


async def insist(clock: Clock, note: Callable[[], Awaitable[Noted]]) -> Noted:
    """Run a transaction again and again for as long as the database does not work; what else it raises goes through."""
    outage = Outage(clock, "an answer can't be noted; trying again")
    while True:
        try:
            noted = await note()
        except DATABASE_ERRORS as error:
            outage.goes_on(error, exc_info=True)
            await clock.wait(asyncio.Event(), seconds=1)
        else:
            outage.is_over()
            return noted
