"""A smaller copy of a video that is too large for Telegram."""

from collections.abc import Callable
from pathlib import Path

from bot.media.containers import CONTAINER_ERRORS, open_container
from bot.media.guards import blaming_file, whole_or_absent
from bot.media.refusals import MediaRefused, Refusal
from bot.media.results import Clip
from bot.media.transcoding import BUFFER_SECONDS, transcode
from bot.media.video import probe_video

_SHORT_SIDE = 720
_LEAST_BITS_PER_SECOND = 150_000  # with less, a talking face is not worth sending
_PAYLOAD = 0.95  # of the file; the rest is the container's own


def shrink_video(
    source: Path, target: Path, *, max_bytes: int, is_abandoned: Callable[[], bool] = lambda: False
) -> None:
    """Write an MP4 again, in 720p and at most `max_bytes`.

    Raises `MediaRefused` where it can't be made to fit, `BrokenVideo`, `CancelledError` once `is_abandoned` says so,
    and leaves no target then; `OSError` where this machine is at fault.
    """
    clip = probe_video(source)
    with whole_or_absent(target), blaming_file(MediaRefused(Refusal.FILE_TOO_BIG), CONTAINER_ERRORS):
        bits_per_second = _affordable_bits_per_second(source, max_bytes, clip.duration_ms / 1000)
        if bits_per_second < _LEAST_BITS_PER_SECOND:
            raise MediaRefused(Refusal.FILE_TOO_BIG)
        transcode(source, target, _size(clip), bits_per_second=bits_per_second, is_abandoned=is_abandoned)
        if target.stat().st_size > max_bytes:
            raise MediaRefused(Refusal.FILE_TOO_BIG)


def _affordable_bits_per_second(source: Path, max_bytes: int, seconds: float) -> int:
    """What the video track may take at most, so that with its buffer full and the sound beside it all fits."""
    with open_container(source) as container:
        tracks = container.streams.audio[:1]
        sound_bytes = sum(packet.size for packet in container.demux(tracks)) if tracks else 0
    return int((max_bytes * _PAYLOAD - sound_bytes) * 8 / (seconds + BUFFER_SECONDS))


def _size(clip: Clip) -> tuple[int, int]:
    """Sides for a short side of 720 at most; even, since 4:2:0 halves them."""
    factor = min(1, _SHORT_SIDE / min(clip.width, clip.height))
    return round(clip.width * factor / 2) * 2, round(clip.height * factor / 2) * 2
