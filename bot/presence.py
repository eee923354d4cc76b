"""Our place among the replicas, held for as long as the service runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from bot.clock import Clock
from bot.config import Settings
from bot.loops import alongside
from bot.resources import Keys
from storage.database import Database
from storage.engine import DATABASE_ERRORS, DatabaseError
from storage.replicas import PATIENCE_MS, NotAlone, Presence

log = structlog.get_logger()

_LOOK_AGAIN_SECONDS = 10


@asynccontextmanager
async def present(
    settings: Settings, keys: Keys, database: Database, clock: Clock, *, patience_ms: int = PATIENCE_MS
) -> AsyncIterator[None]:
    """Hold our place until the end of the block.

    `patience_ms`: how long to wait for somebody who may be about to leave.

    Raises `DatabaseError` where we may not run beside those who are there; later, too, by breaking the block off, where
    the place is lost to somebody who can't be beside us.
    """
    if not database.is_postgres:  # a lock file sees to it that we are alone
        yield
        return
    presence = Presence(
        database, is_lonely=not settings.stores_in_s3, secrets=keys.fingerprints, patience_ms=patience_ms
    )
    try:
        await presence.keep()
    except DATABASE_ERRORS as error:
        raise DatabaseError(f"the database gives no place among the replicas: {type(error).__name__}") from error
    service = asyncio.current_task()
    lost: list[NotAlone] = []

    def end(error: NotAlone) -> None:
        lost.append(error)
        if service is not None:
            service.cancel()

    try:
        async with alongside(_keep(presence, clock, end), name="presence"):
            yield
    except asyncio.CancelledError:
        if lost:
            raise lost[0] from None
        raise
    finally:
        await presence.leave()


async def _keep(presence: Presence, clock: Clock, end: Callable[[NotAlone], None]) -> None:
    while True:
        await clock.wait(asyncio.Event(), seconds=_LOOK_AGAIN_SECONDS)
        try:
            await presence.keep()
        except NotAlone as error:
            log.error("this copy of the bot ends, since another has taken its place", why=str(error))
            end(error)
            return
        except DATABASE_ERRORS as error:
            log.warning("the database gives no place among the replicas", error=type(error).__name__)
