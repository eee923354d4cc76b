"""Opening sound and video files that somebody else made."""

import ctypes
from pathlib import Path

import av
from av.container import InputContainer

from bot.media.guards import DECODER_ERRORS

CONTAINER_ERRORS: tuple[type[Exception], ...] = (av.FFmpegError, *DECODER_ERRORS)

# Without this list FFmpeg takes a playlist for a voice note, and reads the files and fetches the URLs that it names.
# See https://ffmpeg.org/ffmpeg-formats.html#Format-Options
_FORMATS = "ogg,mp3,mov,mp4,wav,flac,aac,matroska,webm,amr,aiff"

# A tag that claims gigabytes would be given them. The limit is FFmpeg's own, for any one allocation; PyAV has no name
# for it. See https://ffmpeg.org/doxygen/trunk/group__lavu__mem__funcs.html
_MOST_BYTES_AT_ONCE = 128 << 20
ctypes.CDLL(av._core.__file__).av_max_alloc(ctypes.c_size_t(_MOST_BYTES_AT_ONCE))  # noqa: SLF001 - it is linked there


def open_container(path: Path) -> InputContainer:
    """Open a file for demuxing. Raises one of `CONTAINER_ERRORS`."""
    return av.open(
        f"file:{path}",  # else a path with a colon would name a protocol
        "r",
        options={"format_whitelist": _FORMATS},
        metadata_errors="ignore",  # tags in Latin-1 are common
    )
