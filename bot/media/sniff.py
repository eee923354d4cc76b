"""What a file is, by its first bytes: names and MIME types are the sender's claims, and often wrong."""

import re
from enum import Enum, auto
from pathlib import Path

_HEAD_BYTES = 512


class Kind(Enum):
    IMAGE = auto()
    SOUND = auto()  # whatever may have a sound track, videos too
    UNKNOWN = auto()


class ImageFormat(Enum):
    JPEG = auto()
    PNG = auto()
    WEBP = auto()
    HEIF = auto()
    AVIF = auto()


_IMAGES = {
    ImageFormat.JPEG: re.compile(rb"\xff\xd8\xff"),
    ImageFormat.PNG: re.compile(rb"\x89PNG\r\n\x1a\n"),
    ImageFormat.WEBP: re.compile(rb"RIFF....WEBP", re.DOTALL),
}

_SOUNDS = re.compile(
    rb"""
      OggS
    | ID3                                               # a tag before MP3, AAC or FLAC
    | \xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd][^\xf0-\xff]      # MPEG audio, layer II or III
    | \xff[\xf0\xf1\xf8\xf9]                            # AAC in ADTS
    | (?:RIFF|RF64)....WAVE
    | FORM....AIF[FC]
    | fLaC
    | \#!AMR
    | \x1a\x45\xdf\xa3                                  # Matroska, WebM
    | ....(?:ftyp|moov|mdat|wide|free|skip)             # MP4, and QuickTime from before it had ftyp
    """,
    re.DOTALL | re.VERBOSE,
)

# Brands of ISO base media files (MP4RA's registry, mp4ra.org) that hold pictures.
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def sniff(path: Path) -> Kind:
    """What kind of file this is. Raises `OSError` where it can't be read."""
    head = _head(path)
    if _image_format(head):
        return Kind.IMAGE
    return Kind.SOUND if _SOUNDS.match(head) else Kind.UNKNOWN


def image_format(path: Path) -> ImageFormat | None:
    """Which of the picture formats that we take this is. Raises `OSError` where it can't be read."""
    return _image_format(_head(path))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _image_format(head: bytes) -> ImageFormat | None:
    brands = _brands(head)
    if brands & _AVIF_BRANDS:
        return ImageFormat.AVIF
    if brands & _HEIF_BRANDS:
        return ImageFormat.HEIF
    return next((name for name, magic in _IMAGES.items() if magic.match(head)), None)


def _brands(head: bytes) -> set[bytes]:
    """The major and the compatible brands of an ISO base media file (ISO 14496-12, 4.3)."""
    if head[4:8] != b"ftyp":
        return set()
    box = head[: int.from_bytes(head[:4])]
    return {box[8:12], *(box[start : start + 4] for start in range(16, len(box), 4))}
