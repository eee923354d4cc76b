"""A folder on this machine; the bot itself serves it, by signed URLs."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from storage.objects.signing import MediaSigner
from storage.objects.store import FOLDERS, ObjectMissing, StoreUnavailable, checked, is_key

_DRAFT = ".draft-"
_LONGEST_PUT_SECONDS = 3600
_BLOCK_BYTES = 4096

Result = TypeVar("Result")


class LocalStore:
    def __init__(self, folder: Path, signer: MediaSigner) -> None:
        self._folder = folder
        self._signer = signer

    async def start(self) -> None:
        """Make the folders."""
        await self._run(self._start)

    async def put(self, key: str, source: Path) -> None:
        await self._run(self._put, self._path(key), source)

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[Path]:
        path = self._path(key)
        if not await self._run(path.is_file):
            if not await self._run(path.parent.is_dir):  # a volume that is not mounted has lost nothing
                raise StoreUnavailable("the media folder is gone")
            raise ObjectMissing
        yield path

    async def delete(self, key: str) -> None:
        path = self._path(key)
        await self._run(lambda: path.unlink(missing_ok=True))

    def url(self, key: str, *, ttl_seconds: int) -> str:
        return self._signer.url(key, ttl_seconds=ttl_seconds)

    async def keys(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        for entry in await self._run(lambda: list(self._entries(prefix))):
            yield entry

    async def tidy(self) -> None:
        await self._run(self._tidy)

    async def check(self) -> None:
        await self._run(self._check)

    async def close(self) -> None:
        """Nothing is held."""

    def _path(self, key: str) -> Path:
        return self._folder / checked(key)

    @staticmethod
    async def _run(work: Callable[..., Result], *arguments: object) -> Result:
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise StoreUnavailable(f"the media folder can't be used: {error.strerror}") from error

    # --- in a thread ---

    def _start(self) -> None:
        for name in FOLDERS:
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        _sync(self._folder)

    def _tidy(self) -> None:
        oldest = time.time() - _LONGEST_PUT_SECONDS
        for draft in self._folder.glob(f"{_DRAFT}*"):
            with suppress(FileNotFoundError):  # its put has ended just now
                if draft.stat().st_mtime < oldest:
                    shutil.rmtree(draft)

    def _put(self, target: Path, source: Path) -> None:
        """Write aside, then rename: nobody ever sees half an object, not even after a power cut."""
        with TemporaryDirectory(prefix=_DRAFT, dir=self._folder) as folder:
            draft = Path(folder, target.name)
            with source.open("rb") as reader, draft.open("wb") as writer:
                shutil.copyfileobj(reader, writer)
                writer.flush()
                os.fsync(writer.fileno())
            draft.replace(target)
        _sync(target.parent)

    def _entries(self, prefix: str) -> Iterator[tuple[str, int]]:
        for path in self._folder.glob("*/*"):
            key = path.relative_to(self._folder).as_posix()
            if is_key(key) and key.startswith(prefix):
                with suppress(FileNotFoundError):  # deleted since
                    yield key, path.stat().st_mtime_ns // 1_000_000

    def _check(self) -> None:
        with TemporaryDirectory(prefix=_DRAFT, dir=self._folder) as folder:
            Path(folder, "check").write_bytes(bytes(_BLOCK_BYTES))  # a full disk has room for empty files all the same


def _sync(folder: Path) -> None:
    """Make the names in a folder durable; syncing a file does not do that (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
