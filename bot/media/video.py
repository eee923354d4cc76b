"""A finished video: is it whole, what does it measure, and its thumbnail."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame

from bot.media.containers import CONTAINER_ERRORS, open_container
from bot.media.guards import blaming_file, whole_or_absent
from bot.media.results import BrokenVideo, Clip

_BOXES = {b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"meta", b"uuid", b"free", b"skip", b"wide"}
_LEAST_BOX_BYTES = 8

# sendVideo: a JPEG of at most 320 pixels and 200 kB. https://core.telegram.org/bots/api#sendvideo
_THUMBNAIL_SIDE = 320
_THUMBNAIL_QUALITY = 85


def probe_video(path: Path) -> Clip:
    """Measure an MP4, and make sure that nothing of it is missing and that its first frame can be decoded.

    Raises `BrokenVideo`; `OSError` where this machine is at fault.
    """
    _check_boxes(path)
    with _opened(path) as container:
        frame = _decode_first(container)
        seconds = (container.duration or 0) / av.time_base
    is_sideways = frame.rotation % 180 != 0
    return Clip(
        width=frame.height if is_sideways else frame.width,
        height=frame.width if is_sideways else frame.height,
        duration_ms=round(seconds * 1000),
    )


def make_thumbnail(path: Path, target: Path) -> None:
    """Write an MP4's first frame, turned as it is shown, to the JPEG `target`, within Telegram's limits.

    Raises `BrokenVideo`, and leaves no target then; `OSError` where this machine is at fault.
    """
    frame = first_frame(path)
    with whole_or_absent(target):
        image = frame.to_image()  # type: ignore[no-untyped-call]  # PyAV's stub leaves it bare
        image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
        image.rotate(frame.rotation, expand=True).save(target, "JPEG", quality=_THUMBNAIL_QUALITY)


def first_frame(path: Path) -> VideoFrame:
    """Decode an MP4's first frame; its `rotation` says by how many degrees to turn it. Raises `BrokenVideo`."""
    with _opened(path) as container:
        return _decode_first(container)


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    with blaming_file(BrokenVideo("it can't be read as a video"), CONTAINER_ERRORS), open_container(path) as container:
        if "mp4" not in container.format.name.split(","):
            raise BrokenVideo("it is no MP4")
        if not container.streams.video:
            raise BrokenVideo("it has no video in it")
        yield container


def _check_boxes(path: Path) -> None:
    """Raise `BrokenVideo` where a box reaches beyond the end of the file: FFmpeg would make do with what is there.

    A box begins with its length and its name; where the length is 1, the true one follows (ISO 14496-12, 4.2).
    """
    size = path.stat().st_size
    start = 0
    with path.open("rb") as file:
        while start + _LEAST_BOX_BYTES <= size:
            file.seek(start)
            length, name = struct.unpack(">I4s", file.read(8))
            if length == 1:
                length = int.from_bytes(file.read(8))
            if name not in _BOXES or length < _LEAST_BOX_BYTES:
                return  # what stands behind the last box does no harm; and 0 means: to the end of the file
            start += length
            if start > size:
                raise BrokenVideo("it breaks off")


def _decode_first(container: InputContainer) -> VideoFrame:
    frame = next(container.decode(video=0), None)
    if frame is None:
        raise BrokenVideo("it has no frames in it")
    return frame
