"""What people send, made into what AKOOL takes; what AKOOL makes, checked. Cheap to import: the work is in threads."""

from bot.media.refusals import MediaRefused, Refusal
from bot.media.results import BrokenVideo, Clip, Picture, Sound
from bot.media.sniff import Kind
from bot.media.studio import Studio

__all__ = ["BrokenVideo", "Clip", "Kind", "MediaRefused", "Picture", "Refusal", "Sound", "Studio"]
