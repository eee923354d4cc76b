"""Preparing a half: from what a person sent to a JPEG or an MP3 in our own store."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from telegram.error import TelegramError

from bot.media import Kind as Content
from bot.media import MediaRefused, Refusal, Studio
from bot.telegram import Files
from storage.drafts import Half, Kind
from storage.objects import ObjectStore, new_key


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a half turned out to be, and what its job's row says of it from now on."""

    kind: Kind
    key: str
    columns: dict[str, Any]


class Halves:
    def __init__(
        self, files: Files, studio: Studio, store: ObjectStore, scratch: Path, *, max_voice_seconds: float
    ) -> None:
        self._files = files
        self._studio = studio
        self._store = store
        self._scratch = scratch
        self._max_voice_seconds = max_voice_seconds

    async def prepare(self, half: Half) -> Prepared:
        """Fetch, check, normalise and store one half. What it is, its bytes decide, not its name.

        Raises `MediaRefused` where it can't be used; anything else means that another try may do.
        """
        if half.file_size is not None and half.file_size > self._files.most_bytes:
            raise MediaRefused(Refusal.FILE_TOO_BIG)
        with TemporaryDirectory(dir=self._scratch) as folder:
            source = Path(folder, "source")
            await self._files.download(half.file_id, source)
            match await self._studio.sniff(source):
                case Content.IMAGE:
                    return await self._photo(half, source)
                case Content.SOUND:
                    return await self._voice(half, source)
                case _:
                    raise MediaRefused(Refusal.UNKNOWN_KIND)

    async def prepare_all(
        self, halves: Sequence[Half], *, is_unfetchable: Callable[[TelegramError], bool]
    ) -> list[Prepared | Refusal | Exception]:
        """Prepare several side by side; what becomes of one does not touch the others."""

        async def prepare(half: Half) -> Prepared | Refusal | Exception:
            try:
                return await self.prepare(half)
            except MediaRefused as refused:
                return refused.refusal
            except TelegramError as error:
                return Refusal.UNFETCHABLE if is_unfetchable(error) else error
            except Exception as error:  # noqa: BLE001 - the caller raises it after it has kept the good ones
                return error

        return list(await asyncio.gather(*map(prepare, halves)))

    async def _photo(self, half: Half, source: Path) -> Prepared:
        target = source.with_name("photo.jpg")
        picture = await self._studio.picture(source, target)
        key = new_key("in", "jpg")
        await self._store.put(key, target)
        return Prepared(
            Kind.PHOTO,
            key,
            {
                "photo_key": key,
                "photo_message_id": half.message_id,
                "photo_accepted": int(picture.has_face),
            },
        )

    async def _voice(self, half: Half, source: Path) -> Prepared:
        target = source.with_name("voice.mp3")
        sound = await self._studio.sound(source, target, max_seconds=self._max_voice_seconds)
        key = new_key("in", "mp3")
        await self._store.put(key, target)
        return Prepared(
            Kind.VOICE,
            key,
            {
                "voice_key": key,
                "voice_message_id": half.message_id,
                "voice_ms": sound.duration_ms,
            },
        )
