"""Why a file can't be used, or a job has ended without a video; and what can be done next."""

from collections.abc import Mapping

from bot.texts.commands import PLACEHOLDER_PHOTO, PLACEHOLDER_VOICE, UNKNOWN_FILE
from bot.texts.saying import Button, Say
from bot.texts.words import N_, Words
from storage.job import OUR_FAULT, SUBMIT_UNKNOWN, VIDEO_KEPT, VIDEO_LOST, Job

COST_NOTHING = N_("Nothing was spent.")
COST_ONE = N_("It did cost one video.")
MAY_HAVE_COST = N_("It may have cost one video.")

BUTTON_AGAIN = N_("Try again")
BUTTON_OTHER_PHOTO = N_("Another photo")
BUTTON_OTHER_VOICE = N_("Another voice note")

REFUSALS: Mapping[str, str] = {
    "unknown_kind": N_(
        "I can't use that file: it's neither a picture nor a sound. Please send a photo, or a voice note."
    ),
    "file_too_big": N_("That file is over {max_file} MB, more than I can fetch. Please send a smaller one."),
    "not_an_image": N_("I can't find a picture in that file. Please send another photo."),
    "image_too_small": N_(
        "That picture is too small: it needs at least 256 pixels on its shorter side. Please send a larger one."
    ),
    "image_too_large": N_("That picture has too many pixels for me. Please send a smaller one."),
    "image_damaged": N_("That picture is damaged. Please send another photo."),
    "not_a_sound": N_("I can't find any sound in that file. Please send another voice note."),
    "no_sound": N_("There is no sound in that file. Please send another voice note."),
    "silent": N_("I can't hear anything in that recording. Please send another voice note."),
    "sound_too_short": N_("That recording is too short: it needs at least half a second. Please send a longer one."),
    "sound_too_long": N_("That recording is too long: I take up to {max_voice}. Please send a shorter one."),
    "sound_damaged": N_("That recording is damaged. Please send another voice note."),
    "unfetchable": N_("Telegram didn't give me that file. Please send it again."),
}

FAILURES: Mapping[str, str] = {
    "daily_limit": N_("You've had all your videos for today. Please try again tomorrow. Nothing was spent."),
    "daily_limit_chat": N_(
        "This group has had all its videos for today. Please try again tomorrow. Nothing was spent."
    ),
    "spend_limit": N_("I've made all the videos that I may make today. Please try again tomorrow. Nothing was spent."),
    "too_many_pending": N_(
        "I'm still working on your other videos. Please try again when one of them is done. Nothing was spent."
    ),
    "media_refused": N_(
        "The video service can't use this photo or this voice note. {cost} "
        "Please try another photo, or another recording."
    ),
    "akool_refused": N_("The video service refused this job, and I don't know why. {cost}"),
    "akool_busy": N_("The video service is not taking jobs at the moment. {cost} Please try again later."),
    SUBMIT_UNKNOWN: N_(
        "I never heard whether the video service took your job, so I've left it. It may have cost one video."
    ),
    "render_failed": N_(
        "The video service could not make a video of this. {cost} Please try another photo, or another recording."
    ),
    "render_failed_face": N_(
        "The video service could not work with the face in this photo. {cost} "
        "Please try another photo: one face, seen from the front, in good light."
    ),
    "render_failed_photo": N_("The video service could not work with this photo. {cost} Please try another one."),
    "render_failed_voice": N_(
        "The video service could not work with this voice note. {cost} Please try another recording."
    ),
    "render_failed_rules": N_(
        "The video service's rules don't allow this photo or this voice note. {cost} Please try others."
    ),
    "render_timeout": N_(
        "The video service took too long, so I've given up. It may have cost one video. Please try again later."
    ),
    "result_lost": N_(
        "The video was made, but I could not fetch it before it expired. I'm sorry. It did cost one video."
    ),
    "undeliverable": N_(
        "Telegram would not take the video. I'm sorry. I've kept it: press the button, and I'll try to "
        "send it again, at no further cost."
    ),
    OUR_FAULT: N_("Something went wrong on my side, and trying again did not help. I'm sorry. {cost}"),
    VIDEO_KEPT: N_(
        "Something went wrong on my side, and I could not send the video. I'm sorry. I've kept it: press the button, "
        "and I'll try to send it again, at no further cost."
    ),
    VIDEO_LOST: N_(
        "The video was made, but I lost it before I could send it. I'm sorry. It did cost one video, and making it "
        "again costs another one."
    ),
}

_REFUSED = frozenset({"media_refused", "akool_refused", "akool_busy"})
_ABOUT_PHOTO = frozenset(
    {
        *("not_an_image", "image_too_small", "image_too_large", "image_damaged"),
        *("render_failed_face", "render_failed_photo"),
    }
)
_ABOUT_VOICE = frozenset(
    {
        *("not_a_sound", "no_sound", "silent", "sound_too_short", "sound_too_long", "sound_damaged"),
        "render_failed_voice",
    }
)
_ABOUT_EITHER = frozenset(
    {"unknown_kind", "file_too_big", "unfetchable", "media_refused", "render_failed", "render_failed_rules"}
)


def failure(words: Words, job: Job, *, max_voice_seconds: float, max_file_bytes: int) -> Say:
    """Why a job ended without a video, whether it cost anything, and what can be done next."""
    reason = job.reason or ""
    message = FAILURES.get(reason) or REFUSALS.get(reason) or FAILURES["akool_busy"]
    text = words(
        message,
        max_voice=words.duration(max_voice_seconds),
        max_file=max_file_bytes >> 20,
        cost=words(_cost(job)),
    )
    return Say(text, _next_steps(words, job))


def _cost(job: Job) -> str:
    """Of a job that AKOOL refused, only an earlier call can have cost anything, of which it was never heard."""
    if not job.paid:
        return COST_NOTHING
    return MAY_HAVE_COST if job.reason in _REFUSED else COST_ONE


def _next_steps(words: Words, job: Job) -> tuple[Button, ...]:
    again = Button(words.plain(BUTTON_AGAIN), f"again:{job.id}")
    photo = Button(words.plain(BUTTON_OTHER_PHOTO), f"photo:{job.id}")
    voice = Button(words.plain(BUTTON_OTHER_VOICE), f"voice:{job.id}")
    if job.reason in _ABOUT_PHOTO:
        return (photo,)
    if job.reason in _ABOUT_VOICE:
        return (voice,)
    if not job.photo_key or not job.voice_key:
        return (photo, voice)
    return (photo, voice, again) if job.reason in _ABOUT_EITHER else (again,)


def refusal(words: Words, job: Job, reason: str, *, max_voice_seconds: float, max_file_bytes: int) -> Say:
    """Why one file can't be used, and what to send instead; in a group as a reply."""
    text = words(
        REFUSALS.get(reason, UNKNOWN_FILE), max_voice=words.duration(max_voice_seconds), max_file=max_file_bytes >> 20
    )
    placeholder = PLACEHOLDER_VOICE if reason in _ABOUT_VOICE else PLACEHOLDER_PHOTO
    return Say(text, asks=words.plain(placeholder) if job.chat_id < 0 else None)
