"""Endless work beside the rest, which is missed where it ends by itself."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import structlog

log = structlog.get_logger()

_CANCEL_AGAIN_SECONDS = 1


def begun(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
    """A task of its own."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_tell_of_its_end)
    return task


@asynccontextmanager
async def alongside(work: Coroutine[Any, Any, None], *, name: str) -> AsyncIterator[None]:
    """Do the work until it ends, at the latest until the end of the block."""
    task = begun(work, name=name)
    try:
        yield
    finally:
        await end(task)


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel them until they have ended.

    Once may not be enough: what a library waits for may swallow a cancellation that comes in the same moment, as
    `asyncio.wait_for` does before Python 3.12 (https://github.com/python/cpython/issues/86296).
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)  # and until who listens for their end has heard of it


def _tell_of_its_end(task: asyncio.Task[None]) -> None:
    """A loop that ends by an error would else be missed by nobody."""
    if not task.cancelled() and (error := task.exception()):
        log.error("a loop has ended by a fault of its own", loop=task.get_name(), exc_info=error)
