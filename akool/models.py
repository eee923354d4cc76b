"""What AKOOL tells, under its own names where they are clear. Unknown fields are ignored.

What decides (`_id`, the status, the URL) must be right, or `from_json` raises `Unreadable`. The undocumented extras
are taken where they make sense: a finished video is not lost over one of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

from akool import reading
from akool.reading import Unreadable

# None is documented for talking photo; these are the names in the other products of the same endpoint.
_FAILURE_REASONS = ("error_reason", "faceswap_fail_reason", "error_msg", "error_message", "fail_reason")


class VideoStatus(IntEnum):
    """`video_status` of the REST objects and `status` of the callbacks (manual page, "Response Attributes").

    "Other values may appear as the API evolves": any of them is UNKNOWN, which is pending.
    """

    UNKNOWN = 0
    QUEUEING = 1
    PROCESSING = 2
    COMPLETED = 3
    FAILED = 4

    @classmethod
    def _missing_(cls, _value: object) -> "VideoStatus":
        return cls.UNKNOWN

    @classmethod
    def from_json(cls, value: object) -> "VideoStatus":
        status = reading.optional_integer(value)
        if status is None:
            raise Unreadable("the status is not a number")
        return cls(status)

    @property
    def pending(self) -> bool:
        return self not in (VideoStatus.COMPLETED, VideoStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Video:
    """A render at AKOOL. Completed without an URL happens on the way; only `done` is the end of it."""

    id: str
    status: VideoStatus
    url: str | None = None  # kept by AKOOL for 7 days
    failure_reason: str | None = None  # the vendor's words, for logs
    deduction_credit: float | None = None

    @classmethod
    def from_json(cls, video_id: str, data: Mapping[str, Any]) -> Self:
        """The `data` of `infobymodelid`. `video` is the result; `video_url`, where it appears, is an input."""
        status = VideoStatus.from_json(data.get("video_status"))
        reasons = (reading.optional_text(data.get(name)) for name in _FAILURE_REASONS)
        return cls(
            id=video_id,
            status=status,
            url=reading.optional_url(data.get("video")),
            failure_reason=next(filter(None, reasons), None) if status is VideoStatus.FAILED else None,
            deduction_credit=reading.optional_number(data.get("deduction_credit")),
        )

    @property
    def done(self) -> bool:
        return self.status is VideoStatus.COMPLETED and self.url is not None


@dataclass(frozen=True, slots=True)
class Callback:
    """What an opened webhook envelope says. Several come per video, in any order, COMPLETED perhaps without URL."""

    id: str
    status: VideoStatus
    type: str | None = None  # "talking photo" for ours, with a space
    url: str | None = None
    deduction_credit: float | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The decrypted `dataEncrypt` (https://docs.akool.com/ai-tools-suite/webhook)."""
        return cls(
            id=reading.identifier(content.get("_id")),
            status=VideoStatus.from_json(content.get("status")),
            type=reading.optional_text(content.get("type")),
            url=reading.optional_url(content.get("url")),
            deduction_credit=reading.optional_number(content.get("deduction_credit")),
        )
