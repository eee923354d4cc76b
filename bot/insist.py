"""Noting what only we know: an answer of AKOOL's or Telegram's that was heard and is not stored yet."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bot.clock import Clock
from storage.database import DATABASE_ERRORS

log = structlog.get_logger()

Noted = TypeVar("Noted")


async def insist(clock: Clock, note: Callable[[], Awaitable[Noted]]) -> Noted:
    """Run a transaction again and again for as long as the database does not work; what else it raises goes through."""
    while True:
        try:
            return await note()
        except DATABASE_ERRORS:
            log.exception("an answer can't be noted; trying again")
            await clock.wait(asyncio.Event(), seconds=1)
