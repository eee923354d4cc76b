"""What the media functions answer. Apart from them, since they are heavy to import and this is not."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Picture:
    """A JPEG that was made; its sides in pixels."""

    width: int
    height: int
    has_face: bool


@dataclass(frozen=True, slots=True)
class Sound:
    """An MP3 that was made; the duration is that of the decoded sound."""

    duration_ms: int


@dataclass(frozen=True, slots=True)
class Clip:
    """A whole video; its sides in pixels as it is shown, that is after its rotation."""

    width: int
    height: int
    duration_ms: int


class BrokenVideo(Exception):
    """The file is no whole, playable MP4; the message says what is wrong with it."""
