"""A finished video: is it whole, what does it measure, and its thumbnail."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame

from bot.media.containers import CONTAINER_ERRORS, open_container
from bot.media.guards import blaming_file, whole_or_absent
from bot.media.results import BrokenVideo, Clip

_SLACK_SECONDS = 0.5  # by so much a header may say more than the packets hold

# sendVideo: a JPEG of at most 320 pixels and 200 kB. https://core.telegram.org/bots/api#sendvideo
_THUMBNAIL_SIDE = 320
_THUMBNAIL_QUALITY = 85


def probe_video(path: Path) -> Clip:
    """Measure an MP4. It is read to its end and its first frame is decoded: what comes back is whole and plays.

    Raises `BrokenVideo`; `OSError` where this machine is at fault.
    """
    frame = first_frame(path)
    with _opened(path) as container:
        seconds = _whole_seconds(container)
    is_sideways = frame.rotation % 180 != 0
    return Clip(
        width=frame.height if is_sideways else frame.width,
        height=frame.width if is_sideways else frame.height,
        duration_ms=round(seconds * 1000),
        size_bytes=path.stat().st_size,
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
        frame = next(container.decode(video=0), None)
    if frame is None:
        raise BrokenVideo("it has no frames in it")
    return frame


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    with blaming_file(BrokenVideo("it can't be read as a video"), CONTAINER_ERRORS), open_container(path) as container:
        if "mp4" not in container.format.name.split(","):
            raise BrokenVideo("it is no MP4")
        if not container.streams.video:
            raise BrokenVideo("it has no video in it")
        yield container


def _whole_seconds(container: InputContainer) -> float:
    """The time at which the last packet ends. Raises `BrokenVideo` where that is sooner than the header says."""
    tracks = (*container.streams.video, *container.streams.audio)
    ends = {track.index: 0.0 for track in tracks}
    for packet in container.demux(tracks):
        if packet.is_corrupt:
            raise BrokenVideo("it breaks off")
        if packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            ends[packet.stream_index] = max(ends[packet.stream_index], end)
    for track in tracks:
        claimed = float(track.duration * track.time_base) if track.duration and track.time_base else 0.0
        if ends[track.index] + _SLACK_SECONDS < claimed:
            raise BrokenVideo("it ends early")
    return max(ends.values())
