"""What this package needs of the FFmpeg that PyAV was built with; its wheels have it all, a distribution's may not."""

from collections.abc import Iterator

import av
from av.codec.codec import UnknownCodecError

_DECODERS = ("opus", "vorbis", "mp3", "aac", "flac", "pcm_s16le", "h264")
_ENCODERS = ("libmp3lame", "aac", "libx264")
_CONTAINERS = ("ogg", "mp3", "mp4")


def missing_codecs() -> list[str]:
    """What this machine can't do, each in a word or two."""
    return [*_missing(_DECODERS, "r"), *_missing(_ENCODERS, "w"), *sorted(set(_CONTAINERS) - av.formats_available)]


def _missing(names: tuple[str, ...], mode: str) -> Iterator[str]:
    for name in names:
        try:
            av.Codec(name, "r" if mode == "r" else "w")
        except UnknownCodecError:
            yield f"{name} ({'decoder' if mode == 'r' else 'encoder'})"
