"""A talking photo that the local AKOOL was asked for, from its two sources to its mp4."""

import asyncio
import math
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bot.sandbox.fetching import Fetched

Raw = dict[str, Any]
Renderer = Callable[[Path, Path, Path], None]
"""Renders (photo path, audio path, target path); runs in a thread."""

# https://docs.akool.com/ai-tools-suite/talking-photo: `video_status`, and `status` in callbacks
QUEUEING, PROCESSING, COMPLETED, FAILED = 1, 2, 3, 4

_CREDITS_PER_BLOCK = 10
_BLOCK_SECONDS = 10


@dataclass(frozen=True)
class Callback:
    """A callback as it was answered (`http_status` 0: not at all), before it was sealed."""

    content: Raw
    http_status: int
    at_ms: int


@dataclass(eq=False)
class Video:
    request: Raw = field(repr=False)
    photo: Fetched
    audio: Fetched
    seconds: float
    created_at_ms: int
    status: int = QUEUEING
    reason: str = ""
    data: bytes = field(default=b"", repr=False)
    completed_at_ms: int = 0
    callbacks: list[Callback] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    id: str = ""
    file_name: str = ""

    def __post_init__(self) -> None:
        self.id = f"{self.created_at_ms // 1000:08x}{secrets.token_hex(8)}"

    @property
    def credits(self) -> int:
        """What it costs: blocks of ten, by the seconds of sound."""
        return max(1, math.ceil(self.seconds / _BLOCK_SECONDS)) * _CREDITS_PER_BLOCK

    async def render(self, renderer: Renderer) -> None:
        self.data = await asyncio.to_thread(self._render, renderer)

    def _render(self, renderer: Renderer) -> bytes:
        with TemporaryDirectory() as folder:
            photo, audio, target = (Path(folder, name) for name in ("photo", "audio", "video.mp4"))
            photo.write_bytes(self.photo.data)
            audio.write_bytes(self.audio.data)
            renderer(photo, audio, target)
            return target.read_bytes()

    def complete(self, now_ms: int) -> None:
        self.status = COMPLETED
        self.completed_at_ms = now_ms
        self.file_name = f"{now_ms}-{random.randint(1000, 9999)}.mp4"

    def fail(self, reason: str) -> None:
        self.status = FAILED
        self.reason = reason

    def shown(self, root_url: str) -> Raw:
        """The video as create and `infobymodelid` show it, keys of other products included."""
        shown = {
            "faceswap_quality": 2,
            "storage_loc": 1,
            "_id": self.id,
            "create_time": self.created_at_ms,
            "uid": 378337,
            "type": 5,
            "from": 2,
            "video_lock_duration": round(self.seconds, 2),
            "deduction_lock_duration": self.credits,
            "external_video": "",
            "talking_photo": self.request["talking_photo_url"],
            "video": f"{root_url}/{self.file_name}" if self.status == COMPLETED else "",
            "__v": 0,
            "video_status": self.status,
            "prompt": self.request.get("prompt", ""),
            "resolution": self.request.get("resolution", ""),
        }
        return shown | ({"error_code": 1015, "error_reason": self.reason} if self.status == FAILED else {})
