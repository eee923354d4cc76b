"""The one door from the event loop to the media functions, which are slow and run in threads."""

# ruff: noqa: PLC0415 - the libraries take half a second to load, so a thread loads them when it first needs them

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TypeVar

from bot.media.results import Clip, Picture, Sound
from bot.media.sniff import Kind, sniff

T = TypeVar("T")


class Studio:
    """Runs the media functions in threads of its own; what they do and raise is said beside them.

    All files are the caller's. No thread can be stopped from outside, so a cancelled call comes back only when its
    thread has let go of them: at once where it had not begun, else within the second or so that its work takes.
    """

    def __init__(self, *, threads: int = 2) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="studio")
        self._transcoding = asyncio.Lock()  # one at a time: it keeps a core busy for half the video's length

    def close(self) -> None:
        """Start nothing more, and wait for what runs."""
        self._threads.shutdown(cancel_futures=True)

    async def sniff(self, path: Path) -> Kind:
        return await self._run(lambda: sniff(path))

    async def picture(self, source: Path, target: Path) -> Picture:
        def work() -> Picture:
            from bot.media.picture import make_picture

            return make_picture(source, target)

        return await self._run(work)

    async def sound(self, source: Path, target: Path, *, max_seconds: float) -> Sound:
        def work() -> Sound:
            from bot.media.sound import make_sound

            return make_sound(source, target, max_seconds=max_seconds)

        return await self._run(work)

    async def clip(self, path: Path) -> Clip:
        def work() -> Clip:
            from bot.media.video import probe_video

            return probe_video(path)

        return await self._run(work)

    async def thumbnail(self, path: Path, target: Path) -> None:
        def work() -> None:
            from bot.media.video import make_thumbnail

            make_thumbnail(path, target)

        await self._run(work)

    async def shrink(self, source: Path, target: Path, *, max_bytes: int) -> None:
        """Shrink a video; unlike the other work, this stops soon after it is cancelled."""
        abandoned = Event()

        def work() -> None:
            from bot.media.shrink import shrink_video

            shrink_video(source, target, max_bytes=max_bytes, is_abandoned=abandoned.is_set)

        async with self._transcoding:
            await self._run(work, on_cancel=abandoned.set)

    async def round(self, source: Path, target: Path) -> bool:
        """Make a video note; stops as `shrink` does."""
        abandoned = Event()

        def work() -> bool:
            from bot.media.rounding import round_video

            return round_video(source, target, is_abandoned=abandoned.is_set)

        async with self._transcoding:
            return await self._run(work, on_cancel=abandoned.set)

    async def _run(self, work: Callable[[], T], *, on_cancel: Callable[[], None] = lambda: None) -> T:
        job = self._threads.submit(work)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            on_cancel()
            if not job.cancel():
                with suppress(Exception, asyncio.CancelledError):
                    await asyncio.wrap_future(job)
            raise
