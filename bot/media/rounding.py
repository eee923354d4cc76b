"""A video note: the square video that Telegram shows as a circle.

"rounded square MPEG4 videos of up to 1 minute long" (https://core.telegram.org/bots/api#sendvideonote)
"""

from collections.abc import Callable
from pathlib import Path

from bot.media.containers import CONTAINER_ERRORS
from bot.media.guards import blaming_file, whole_or_absent
from bot.media.results import BrokenVideo
from bot.media.transcoding import transcode
from bot.media.video import probe_video

_LONGEST_MS = 60_000
_LONGEST_SIDE = 480
_FACE_HEIGHT = "1/3"  # of what is cut off a portrait, how much goes at the top: faces are in the upper half


def round_video(source: Path, target: Path, *, is_abandoned: Callable[[], bool] = lambda: False) -> bool:
    """Write the square middle of an MP4; its sound is copied. False where it is too long for a video note.

    Raises `BrokenVideo`, and `CancelledError` once `is_abandoned` says so; leaves no target then.
    """
    clip = probe_video(source)
    if clip.duration_ms > _LONGEST_MS:
        return False
    side = min(clip.width, clip.height, _LONGEST_SIDE) // 2 * 2
    square = ("crop", f"w=min(iw\\,ih):h=min(iw\\,ih):x=(iw-ow)/2:y=(ih-oh)*{_FACE_HEIGHT}")
    with whole_or_absent(target), blaming_file(BrokenVideo("it can't be written anew"), CONTAINER_ERRORS):
        transcode(source, target, (side, side), square, options={}, is_abandoned=is_abandoned)
    return True
