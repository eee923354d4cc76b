"""Media that cost nothing: photos and voices with a mark of their own, a studio that copies, a store without fsync."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image

from bot.clock import Clock
from bot.media import Clip, Kind, Picture, Sound, Studio
from media_samples import saved, sound
from simulated_hooks import Hooks
from storage.objects import ObjectMissing
from virtual_loop import Process

_ID3V1 = b"TAG" + bytes(117)  # what may follow the sound in an MP3


@cache
def _jpeg() -> bytes:
    return saved(Image.new("RGB", (100, 100), "orange"), "JPEG")


@cache
def _mp3() -> bytes:
    return sound("mp3", "libmp3lame", seconds=0.1)


def photo(number: int) -> bytes:
    return _jpeg() + _mark(number)


def voice(number: int) -> bytes:
    return _mp3() + _ID3V1 + _mark(number)


def _mark(number: int) -> bytes:
    return f"[{number:06}]".encode()


def mark_of(data: bytes) -> bytes:
    """What tells a photo or a voice from all others."""
    return data[-8:]


def render(photo: Path, audio: Path, target: Path) -> None:
    """A video that says what it was made of."""
    target.write_bytes(b" ".join(mark_of(path.read_bytes()) for path in (photo, audio)))


def marks_in(video: bytes) -> tuple[bytes, bytes]:
    photo, voice = video.split(b" ")
    return photo, voice


@dataclass
class Vault:
    """The objects themselves, and when each was written."""

    folder: Path
    clock: Clock
    written: dict[str, int] = field(default_factory=dict)

    def path(self, key: str) -> Path:
        return self.folder / key.replace("/", "-")


class SimulatedStore:
    """An object store without fsync, whose times are the simulation's."""

    def __init__(self, vault: Vault, hooks: Hooks, process: Process | None) -> None:
        self._vault = vault
        self._hooks = hooks
        self._process = process

    async def start(self) -> None: ...

    async def put(self, key: str, source: Path) -> None:
        await self._hooks.pass_(self._process, "before an object is put")
        shutil.copyfile(source, self._vault.path(key))
        self._vault.written[key] = self._vault.clock.now()
        await self._hooks.pass_(self._process, "after an object is put")

    @asynccontextmanager
    async def open(self, key: str) -> AsyncIterator[Path]:
        if key not in self._vault.written:
            raise ObjectMissing
        yield self._vault.path(key)

    async def delete(self, key: str) -> None:
        if self._vault.written.pop(key, None) is not None:
            self._vault.path(key).unlink()

    def url(self, key: str, *, ttl_seconds: int) -> str:
        return f"http://127.0.0.1/media/{key}"

    async def keys(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        for key, written_at in list(self._vault.written.items()):
            if key.startswith(prefix):
                yield key, written_at

    async def tidy(self) -> None: ...

    async def check(self) -> None: ...

    async def close(self) -> None: ...


class CheapStudio(Studio):
    """Takes every file for what its first bytes say, and copies it: decoding is tested elsewhere."""

    def __init__(self) -> None:
        """No threads."""

    async def sniff(self, path: Path) -> Kind:
        return Kind.IMAGE if path.read_bytes().startswith(b"\xff\xd8") else Kind.SOUND

    async def picture(self, source: Path, target: Path) -> Picture:
        shutil.copyfile(source, target)
        return Picture(256, 256, has_face=True)

    async def sound(self, source: Path, target: Path, *, max_seconds: float) -> Sound:
        shutil.copyfile(source, target)
        return Sound(1000)

    async def clip(self, path: Path) -> Clip:
        return Clip(64, 96, 1000)

    async def thumbnail(self, path: Path, target: Path) -> None:
        target.write_bytes(b"thumbnail")
