"""Why a person's file can't be used. The sentences that they read stand elsewhere."""

from enum import StrEnum


class Refusal(StrEnum):
    UNKNOWN_KIND = "unknown_kind"
    FILE_TOO_BIG = "file_too_big"
    UNFETCHABLE = "unfetchable"

    NOT_AN_IMAGE = "not_an_image"
    IMAGE_TOO_SMALL = "image_too_small"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_DAMAGED = "image_damaged"

    NOT_A_SOUND = "not_a_sound"
    NO_SOUND = "no_sound"
    SILENT = "silent"
    SOUND_TOO_SHORT = "sound_too_short"
    SOUND_TOO_LONG = "sound_too_long"
    SOUND_DAMAGED = "sound_damaged"


class MediaRefused(Exception):
    """A file can't be used, and never will be; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal
