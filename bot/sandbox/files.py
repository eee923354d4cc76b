"""The files of the local Telegram: their ids, their bytes, and the objects that describe them in a message."""

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path, PurePath
from typing import Any

from PIL import Image

Raw = dict[str, Any]

# What the objects of https://core.telegram.org/bots/api#available-types say of a file, beside its ids and size, with
# what the server says itself where the sender said nothing.
_DESCRIPTIONS: dict[str, Raw] = {
    "animation": {"width": 320, "height": 320, "duration": 0, "mime_type": "video/mp4", "file_name": None},
    "audio": {"duration": 0, "mime_type": None, "file_name": None, "title": None, "performer": None},
    "document": {"mime_type": None, "file_name": None},
    "sticker": {"type": "regular", "width": 512, "height": 512, "is_animated": False, "is_video": False},
    "video": {"width": 320, "height": 320, "duration": 0, "mime_type": "video/mp4", "file_name": None},
    "video_note": {"length": 240, "duration": 0},
    "voice": {"duration": 0, "mime_type": None},
}
MEDIA_KINDS = frozenset({"photo", *_DESCRIPTIONS})


@dataclass(eq=False)
class File:
    file_id: str
    unique_id: str
    name: str
    mime_type: str | None
    kind: str
    claimed_size: int
    path: str
    data: bytes = field(repr=False)

    @property
    def ids(self) -> Raw:
        return {"file_id": self.file_id, "file_unique_id": self.unique_id, "file_size": self.claimed_size}

    def keep_in(self, folder: Path) -> Path:
        """Put the bytes on disk, as a server that was started with `--local` does; returns where."""
        path = folder / self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.data)
        return path


class Files:
    """Keeps every file while there is room; the oldest lose their bytes first, as if Telegram could not find them."""

    def __init__(self, *, most_kept_bytes: int = 512 << 20) -> None:
        self._most_kept_bytes = most_kept_bytes
        self._numbers = count(1)
        self._by_id: dict[str, File] = {}
        self._by_path: dict[str, File] = {}
        self._kept: list[File] = []
        self._kept_bytes = 0

    def add(
        self,
        data: bytes,
        name: str,
        *,
        mime_type: str | None,
        kind: str = "document",
        claimed_size: int | None = None,
    ) -> File:
        number = next(self._numbers)
        file = File(
            file_id=f"BQACAgIAAx{number:06}",
            unique_id=f"AgAD{hashlib.blake2b(data, digest_size=8).hexdigest()}",
            name=name,
            mime_type=mime_type,
            kind=kind,
            claimed_size=len(data) if claimed_size is None else claimed_size,
            path=f"files/file_{number}{PurePath(name).suffix}",
            data=data,
        )
        self._by_id[file.file_id] = self._by_path[file.path] = file
        self._kept.append(file)
        self._kept_bytes += len(data)
        while self._kept_bytes > self._most_kept_bytes:
            oldest = self._kept.pop(0)
            self._kept_bytes -= len(oldest.data)
            oldest.data = b""
        return file

    def by_id(self, file_id: str) -> File | None:
        return self._by_id.get(file_id)

    def by_path(self, path: str) -> File | None:
        return self._by_path.get(path)

    def describe(self, kind: str, file: File, details: Mapping[str, Any], thumbnail: File | None = None) -> Raw:
        """The part of a Message object that shows a file, such as `{"video": {…}}`."""
        if kind == "photo":
            return {"photo": self._photo_sizes(file)}
        claims = {"mime_type": file.mime_type, "file_name": file.name, **details}
        about = {
            name: default if claims.get(name) is None else claims[name] for name, default in _DESCRIPTIONS[kind].items()
        }
        shown = file.ids | {name: value for name, value in about.items() if value is not None}
        if thumbnail is not None:
            shown["thumbnail"] = self._photo_sizes(thumbnail)[-1]
        return {"animation": shown, "document": shown} if kind == "animation" else {kind: shown}

    def _photo_sizes(self, file: File) -> list[Raw]:
        """Smallest first, as Telegram lists them; the last one is the file itself."""
        try:
            with Image.open(io.BytesIO(file.data)) as image:
                whole = file.ids | {"width": image.width, "height": image.height}
                image.draft("RGB", (90, 90))
                small = image.convert("RGB")
        except OSError:
            return [file.ids | {"width": 1280, "height": 960}]
        small.thumbnail((90, 90))
        sink = io.BytesIO()
        small.save(sink, "JPEG")
        icon = self.add(sink.getvalue(), "small.jpg", mime_type="image/jpeg", kind=file.kind)
        return [icon.ids | {"width": small.width, "height": small.height}, whole]
