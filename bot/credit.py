"""What is left on the AKOOL account, asked now and then for Prometheus; nothing depends on the answer."""

import asyncio

import structlog

import akool
from bot import metrics
from bot.clock import Clock

log = structlog.get_logger()

_ASK_EVERY_SECONDS = 600


async def watch_credit(client: akool.Client, clock: Clock) -> None:
    """Ask until cancelled. Where AKOOL does not tell, what it told last stands."""
    while True:
        try:
            metrics.CREDIT.set(await client.get_credit())
        except akool.AkoolError as error:
            log.debug("AKOOL does not tell what is left", error=type(error).__name__, code=error.code)
        await clock.wait(asyncio.Event(), seconds=_ASK_EVERY_SECONDS)
