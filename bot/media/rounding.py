"""A video note: the square video that Telegram shows as a circle.

"rounded square MPEG4 videos of up to 1 minute long" (https://core.telegram.org/bots/api#sendvideonote)
"""

from collections.abc import Callable
from pathlib import Path

from bot.media.containers import CONTAINER_ERRORS
from bot.media.guards import blaming_file, whole_or_absent
from bot.media.refusals import MediaRefused, Refusal
from bot.media.transcoding import transcode
from bot.media.video import probe_video

_LONGEST_SECONDS = 60
_LONGEST_SIDE = 480
_BITS_PER_SECOND = 1_000_000  # a minute stays under the 10 MB of which Telegram's server looks at the picture itself
_FACE_HEIGHT = "1/3"  # of what is cut off a portrait, how much goes at the top: faces are in the upper half


def round_video(source: Path, target: Path, *, is_abandoned: Callable[[], bool] = lambda: False) -> bool:
    """Write the largest square of an MP4, with its sound. False where it is too long, or can't be decoded to its end.

    Raises `BrokenVideo`, and `CancelledError` once `is_abandoned` says so; `OSError` where this machine is at fault.
    Leaves no target then, nor where it is False.
    """
    clip = probe_video(source)
    if clip.duration_ms > _LONGEST_SECONDS * 1000:
        return False
    side = min(clip.width, clip.height, _LONGEST_SIDE) // 2 * 2
    square = ("crop", f"w=min(iw\\,ih):h=min(iw\\,ih):x=(iw-ow)/2:y=(ih-oh)*{_FACE_HEIGHT}")
    try:
        with whole_or_absent(target), blaming_file(MediaRefused(Refusal.FILE_TOO_BIG), CONTAINER_ERRORS):
            transcode(
                source,
                target,
                (side, side),
                square,
                bits_per_second=_BITS_PER_SECOND,
                most_seconds=_LONGEST_SECONDS,
                is_abandoned=is_abandoned,
            )
    except MediaRefused:
        return False
    return True
