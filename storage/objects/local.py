"""A folder on this machine; the bot itself serves it, by signed URLs."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from storage.objects.signing import MediaSigner
from storage.objects.store import ObjectMissing, StoreUnavailable, checked, is_key


class LocalStore:
    def __init__(self, folder: Path, signer: MediaSigner) -> None:
        self._folder = folder
        self._signer = signer

    async def start(self) -> None:
        """Nothing is needed."""

    async def put(self, key: str, source: Path) -> None:
        await self._run(self._put, self._path(key), source)

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[Path]:
        path = self._path(key)
        if not path.is_file():
            raise ObjectMissing
        yield path

    async def delete(self, key: str) -> None:
        path = self._path(key)
        await self._run(lambda: path.unlink(missing_ok=True))

    def url(self, key: str, *, ttl_seconds: int) -> str:
        return self._signer.url(key, ttl_seconds=ttl_seconds)

    async def keys(self) -> AsyncIterator[tuple[str, int]]:
        for entry in await asyncio.to_thread(lambda: list(self._entries())):
            yield entry

    async def check(self) -> None:
        await self._run(self._check)

    async def close(self) -> None:
        """Nothing is held."""

    def _path(self, key: str) -> Path:
        return self._folder / checked(key)

    def _entries(self) -> Iterator[tuple[str, int]]:
        for path in self._folder.glob("*/*"):
            key = path.relative_to(self._folder).as_posix()
            if is_key(key):
                yield key, path.stat().st_mtime_ns // 1_000_000

    def _check(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=self._folder):
            pass

    @staticmethod
    def _put(path: Path, source: Path) -> None:
        """Write beside, then rename: nobody ever sees half an object, not even after a power cut."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft")
        try:
            with source.open("rb") as reader, draft.open("wb") as writer:
                shutil.copyfileobj(reader, writer)
                writer.flush()
                os.fsync(writer.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @staticmethod
    async def _run(work: Callable[..., None], *arguments: Path) -> None:
        try:
            await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise StoreUnavailable(f"the media folder: {error.strerror}") from error
