"""Every word that a person reads. Short, warm, plain; sent without parse mode, so nothing needs escaping."""

from collections.abc import Mapping
from dataclasses import dataclass

from storage.jobs import Job, State
from storage.ledger import SUBMIT_UNKNOWN

WELCOME = (
    "Hi! I make photos talk.\n\n"
    "Send me a photo with a face and a voice note, in either order, and I'll send you back a video "
    "in which the photo says it.\n\n"
    "Commands: /status, /cancel, /help"
)
HELP = (
    "1. Send a photo: one face, seen from the front, in good light.\n"
    "2. Send a voice note, up to {max_voice}.\n"
    "3. Wait a few minutes. The video comes as a reply to your voice note.\n\n"
    "Pictures and sound may also come as files (PNG, WebP, HEIC, mp3, m4a, wav …). "
    "View-once photos and voice notes never reach me: please send them as ordinary ones.\n\n"
    "/status shows what I'm working on, /cancel stops it."
)
WHAT_I_NEED = "I need a photo and a voice note. Send me both, in either order, and I'll make the photo talk."
UNKNOWN_FILE = "I can't use that. Please send a photo, or a voice note."
NOTHING_OPEN = "I'm not working on anything of yours. Send me a photo and a voice note to begin."
CANCELLED = "Cancelled. Nothing was spent."
CANCELLED_PAID = "Cancelled. The video was already being made, so it still counts."
ALREADY_PAID = "Your video is already being made, and paid for. Shall I keep it from you all the same?"
TOO_LATE = "That's over already."
NOT_YOURS = "This button is for somebody else."
WILL_TRY_AGAIN = "I'll try again."
LEFT = "All right, I've left it."
COST_NOTHING = "Nothing was spent."
COST_ONE = "It did cost one video."
LINK = "Your video is too large for Telegram. You can fetch it here until {until}:\n{url}"

BUTTON_USE_ANYWAY = "Use it anyway"
BUTTON_RISK = "Try again (may cost twice)"
BUTTON_LEAVE = "Leave it"
BUTTON_AGAIN = "Try again"
BUTTON_CANCEL_ANYWAY = "Yes, cancel"

_SEND_OTHER_PHOTO = "Please send another photo."
_SEND_OTHER_VOICE = "Please send another voice note."

REFUSALS: Mapping[str, str] = {
    "unknown_kind": "I can't use that file: it's neither a picture nor a sound. Please send a photo, or a voice note.",
    "file_too_big": "That file is over 20 MB, more than Telegram lets me fetch. Please send a smaller one.",
    "not_an_image": f"I can't find a picture in that file. {_SEND_OTHER_PHOTO}",
    "image_too_small": "That picture is too small: it needs at least 256 pixels on its shorter side. "
    "Please send a larger one.",
    "image_too_large": "That picture has too many pixels for me. Please send a smaller one.",
    "image_damaged": f"That picture is damaged. {_SEND_OTHER_PHOTO}",
    "not_a_sound": f"I can't find any sound in that file. {_SEND_OTHER_VOICE}",
    "no_sound": f"There is no sound in that file. {_SEND_OTHER_VOICE}",
    "silent": f"I can't hear anything in that recording. {_SEND_OTHER_VOICE}",
    "sound_too_short": "That recording is too short: it needs at least half a second. Please send a longer one.",
    "sound_too_long": "That recording is too long: I take up to {max_voice}. Please send a shorter one.",
    "sound_damaged": f"That recording is damaged. {_SEND_OTHER_VOICE}",
    "unfetchable": "Telegram didn't give me that file. Please send it again.",
}

FAILURES: Mapping[str, str] = {
    "daily_limit": "You've had all your {daily_limit} videos for today. Please try again tomorrow. Nothing was spent.",
    "media_refused": "The video service can't use this photo or this voice note. Nothing was spent. "
    "Please try another photo, or another recording.",
    "akool_refused": "The video service refused this job, and I don't know why. Nothing was spent.",
    "akool_busy": "The video service is not taking jobs at the moment. Nothing was spent. Please try again later.",
    SUBMIT_UNKNOWN: "I never heard whether the video service took your job, so I've left it. "
    "It may have cost one video.",
    "render_failed": "The video service could not make a video of this. {cost} "
    "Please try another photo, or another recording.",
    "render_failed_face": "The video service could not work with the face in this photo. {cost} "
    "Please try another photo: one face, seen from the front, in good light.",
    "render_failed_photo": "The video service could not work with this photo. {cost} Please try another one.",
    "render_failed_voice": "The video service could not work with this voice note. {cost} "
    "Please try another recording.",
    "render_failed_rules": "The video service's rules don't allow this photo or this voice note. {cost} "
    "Please try others.",
    "render_timeout": "The video service took too long, so I've given up. It may have cost one video. "
    "Please try again later.",
    "result_lost": "The video was made, but I could not fetch it before it expired. I'm sorry. It did cost one video.",
    "undeliverable": "Telegram would not take the video. I'm sorry. I've kept it: press the button, and I'll try to "
    "send it again, at no further cost.",
}

STATUS_ONLY_PHOTO = "Got your photo. Now send me a voice note."
STATUS_ONLY_VOICE = "Got your voice note. Now send me a photo."
STATUS_RECEIVING = "Looking at it …"
STATUS_NO_FACE = "I see no face in this photo. Send me another one, or use it anyway."
STATUS_QUEUED = "Got both. You're number {place} in line."
STATUS_BUSY = "Got both. The video service is busy, so I keep trying."
STATUS_PAUSED = "Got both. The video service needs my operator's attention first. I'll go on by myself after that."
STATUS_SUBMITTING = "Got both. Your video is about to be made."
STATUS_UNHEARD = (
    "The video service hasn't answered yet, so I'm waiting to hear whether it took your job. "
    "I won't ask twice, so that it doesn't cost twice."
)
STATUS_RENDERING = "Your video is being made. {estimate}"
STATUS_UNSURE = (
    "I never heard whether the video service took your job. I can try again, but then it may cost twice. "
    "What shall I do?"
)
STATUS_FETCHING = "Your video is made, I'm fetching it …"
STATUS_SENDING = "Your video is ready, I'm sending it …"


_USUAL_ANSWER_MS = 60_000


@dataclass(frozen=True, slots=True)
class Button:
    label: str
    data: str


@dataclass(frozen=True, slots=True)
class Say:
    """A text, and the buttons under it."""

    text: str
    buttons: tuple[Button, ...] = ()


def duration(seconds: float) -> str:
    """`90 seconds`, `2 minutes`."""
    if seconds < 120:  # noqa: PLR2004 - up to here people count in seconds
        return f"{seconds:.0f} second" + ("s" if round(seconds) != 1 else "")
    return f"{seconds / 60:.0f} minutes"


def estimate(expected_ms: int | None, elapsed_ms: int) -> str:
    """What is left of a render that usually takes `expected_ms` (None: there were none yet)."""
    if expected_ms is None:
        return "This usually takes a few minutes."
    left_seconds = (expected_ms - elapsed_ms) / 1000
    if left_seconds <= 0:
        return "It's taking longer than usual."
    if left_seconds <= 60:  # noqa: PLR2004 - seconds
        return "Less than a minute left."
    return f"About {duration(max(120, left_seconds + 30))} left."


def status(
    job: Job, *, place: int | None = None, paused: bool = False, expected_ms: int | None = None, now: int = 0
) -> Say:
    """Where an unfinished job stands."""
    match job.state:
        case State.COLLECTING:
            return _collecting(job)
        case State.QUEUED:
            return _queued(job, place, paused=paused)
        case State.SUBMITTING:
            return _submitting(job, now)
        case State.RENDERING:
            elapsed_ms = now - (job.submitted_at or now)
            return Say(STATUS_RENDERING.format(estimate=estimate(expected_ms, elapsed_ms)))
        case State.SAVING:
            return Say(STATUS_FETCHING)
        case _:
            return Say(STATUS_SENDING)


def _submitting(job: Job, now: int) -> Say:
    if job.reason == SUBMIT_UNKNOWN:
        choice = (Button(BUTTON_RISK, f"risk:{job.id}"), Button(BUTTON_LEAVE, f"leave:{job.id}"))
        return Say(STATUS_UNSURE, choice)
    waited_ms = now - (job.submitted_at or now)
    return Say(STATUS_UNHEARD if waited_ms > _USUAL_ANSWER_MS else STATUS_SUBMITTING)


def _queued(job: Job, place: int | None, *, paused: bool) -> Say:
    if paused:
        return Say(STATUS_PAUSED)
    return Say(STATUS_BUSY if job.attempts else STATUS_QUEUED.format(place=place))


def _collecting(job: Job) -> Say:
    if job.photo_key and not job.photo_accepted:
        return Say(STATUS_NO_FACE, (Button(BUTTON_USE_ANYWAY, f"anyway:{job.id}"),))
    if job.has_photo and not job.voice_key:
        return Say(STATUS_ONLY_PHOTO)
    if job.voice_key and not job.has_photo:
        return Say(STATUS_ONLY_VOICE)
    return Say(STATUS_RECEIVING)


def failure(job: Job, *, daily_limit: int, max_voice_seconds: float) -> Say:
    """Why a job ended without a video, and whether it cost anything."""
    reason = job.reason or ""
    text = FAILURES.get(reason) or REFUSALS.get(reason) or FAILURES["akool_busy"]
    buttons = (Button(BUTTON_AGAIN, f"again:{job.id}"),) if job.photo_key and job.voice_key else ()
    cost = COST_ONE if job.paid else COST_NOTHING
    return Say(text.format(daily_limit=daily_limit, max_voice=duration(max_voice_seconds), cost=cost), buttons)


def refusal(reason: str, *, max_voice_seconds: float) -> str:
    """Why a file can't be used, and what to send instead."""
    return REFUSALS.get(reason, UNKNOWN_FILE).format(max_voice=duration(max_voice_seconds))


_ACCOUNT_TROUBLES = {
    "OutOfCredit": "the AKOOL account has no credit left, or a payment is overdue. Top it up at akool.com",
    "InvalidToken": "AKOOL does not accept the API key. Check AKOOL_API_KEY (or the client id and secret)",
}


ACCOUNT_WORKS_AGAIN = "Videos are being made again: AKOOL takes jobs of this account."
DELIVERY_WORKS_AGAIN = "Telegram takes videos again."


def account_alarm(trouble: str) -> str:
    what = _ACCOUNT_TROUBLES.get(trouble, "AKOOL refuses the account. Look at its state and plan at akool.com")
    return f"No videos are being made: {what}. Jobs wait meanwhile, and go on by themselves when it is mended."


def delivery_alarm(job: Job) -> str:
    return (
        f"Telegram does not take videos: that of job {job.id} was refused for a whole day. Those that fail are kept, "
        "and their owners can have them sent again. Look at the bot's log, and at `python -m bot jobs --state failed`."
    )


def stranger(user_id: int) -> str:
    return (
        "This bot is private, and I don't know you yet. "
        f"If you'd like to use it, give its operator this number, which is your id: {user_id}"
    )
