"""Where a job stands, as its status message says it."""

from dataclasses import dataclass
from enum import Enum, auto

from bot.estimates import Estimate
from bot.texts.commands import PLACEHOLDER_PHOTO, PLACEHOLDER_VOICE
from bot.texts.saying import Button, Say
from bot.texts.words import N_, Words
from storage.drafts import Kind, incoming
from storage.job import NOT_ALLOWED, SUBMIT_UNKNOWN, Job, State

STATUS_NOTHING_YET = N_("Send me a photo, and then a voice note.")
STATUS_NOTHING_YET_GROUP = N_("Please reply to this with a photo: one face, seen from the front.")
STATUS_ONLY_PHOTO = N_("Got your photo. Now send me a voice note.")
STATUS_ONLY_PHOTO_GROUP = N_("Got the photo. Now please reply to this with a voice note.")
STATUS_ONLY_ALBUM = N_(
    "Got your photos. I'll take the first one; to use another, reply to it with your voice note. "
    "Now send me a voice note."
)
STATUS_ONLY_VOICE = N_("Got your voice note. Now send me a photo.")
STATUS_ONLY_VOICE_GROUP = N_("Got the voice note. Now please reply to this with a photo.")
STATUS_LAST_PHOTO = N_("Got your voice note. Shall I use your last photo, or do you send another?")
STATUS_RECEIVING = N_("Looking at it …")
STATUS_NO_FACE = N_("I see no face in this photo. Send me another one, or use it anyway.")
STATUS_QUEUED = N_("Got both. You're number {place} in line.")
STATUS_QUEUED_ALBUM = N_("Got both, and I take the first photo of your album. You're number {place} in line.")
STATUS_BUSY = N_("Got both. The video service is busy, so I keep trying.")
STATUS_PAUSED = N_("Got both. The video service needs my operator's attention first. I'll go on by myself after that.")
STATUS_HALTED = N_("Got both. My operator has paused the making of videos. I'll go on by myself after that.")
STATUS_SPENT = N_("Got both. Today's videos are all used up. I'll go on by myself tomorrow.")
STATUS_SUBMITTING = N_("Got both. Your video is about to be made.")
STATUS_UNHEARD = N_(
    "The video service hasn't answered yet, so I'm waiting to hear whether it took your job. "
    "I won't ask twice, so that it doesn't cost twice."
)
STATUS_RENDERING = N_("Your video is being made.")
STATUS_UNSURE = N_(
    "I never heard whether the video service took your job. I can try again, but then it may cost twice. "
    "What shall I do?"
)
STATUS_FETCHING = N_("Your video is made, I'm fetching it …")
STATUS_NOT_ALLOWED = N_("Your video is ready, but I may not send videos here. Please have an admin allow it.")
STATUS_SENDING = N_("Your video is ready, I'm sending it …")

ESTIMATE_UNKNOWN = N_("This usually takes a few minutes.")
ESTIMATE_LATE = N_("It's taking longer than usual.")
ESTIMATE_SOON = N_("It should be done any moment.")
ESTIMATE_MINUTE = N_("Less than a minute left.")
ESTIMATE_LEFT = N_("About {time} left.")

BUTTON_USE_ANYWAY = N_("Use it anyway")
BUTTON_RISK = N_("Try again (may cost twice)")
BUTTON_LEAVE = N_("Leave it")
BUTTON_LAST_PHOTO = N_("Use the last photo ({when})")
BUTTON_SEND_ANOTHER = N_("Send another")

_GROUP_QUESTIONS = (STATUS_NOTHING_YET_GROUP, STATUS_ONLY_PHOTO_GROUP, STATUS_ONLY_VOICE_GROUP)
_USUAL_ANSWER_MS = 60_000
_BAR_LENGTH = 10
_FULLEST = 0.95  # only the video itself says that it is done


class Halt(Enum):
    """Why nothing is submitted at present."""

    ACCOUNT = auto()
    OPERATOR = auto()
    SPENT = auto()


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a job's row alone does not tell."""

    now: int
    place: int | None = None
    halt: Halt | None = None
    estimate: Estimate | None = None
    last_photo: Job | None = None
    """The sender's last job here that has a photo, where a voice lacks one."""


def status(words: Words, job: Job, outlook: Outlook) -> Say:
    """Where an unfinished job stands."""
    match job.state:
        case State.COLLECTING:
            return _collecting(words, job, outlook)
        case State.QUEUED:
            return Say(_queued(words, job, outlook))
        case State.SUBMITTING:
            return _submitting(words, job, outlook.now)
        case State.RENDERING:
            return Say(_rendering(words, job, outlook))
        case State.SAVING:
            return Say(words(STATUS_FETCHING))
        case _:
            return Say(words(STATUS_NOT_ALLOWED if job.reason == NOT_ALLOWED else STATUS_SENDING))


def _collecting(words: Words, job: Job, outlook: Outlook) -> Say:
    if job.photo_key and not job.photo_accepted:
        return Say(words(STATUS_NO_FACE), (Button(words.plain(BUTTON_USE_ANYWAY), f"anyway:{job.id}"),))
    if incoming(job) or (job.has_photo and job.voice_key):
        return Say(words(STATUS_RECEIVING))
    if not job.has_photo and not job.voice_key:
        return _ask(words, job, Kind.PHOTO, STATUS_NOTHING_YET, STATUS_NOTHING_YET_GROUP)
    if not job.voice_key:
        in_private = STATUS_ONLY_ALBUM if job.album else STATUS_ONLY_PHOTO
        return _ask(words, job, Kind.VOICE, in_private, STATUS_ONLY_PHOTO_GROUP)
    if outlook.last_photo is not None and not _is_group(job):
        return _offer_last_photo(words, job, outlook.last_photo, outlook.now)
    return _ask(words, job, Kind.PHOTO, STATUS_ONLY_VOICE, STATUS_ONLY_VOICE_GROUP)


def _ask(words: Words, job: Job, kind: Kind, in_private: str, in_group: str) -> Say:
    """In a group what is asked for must come as a reply, since with privacy mode nothing else reaches us."""
    if not _is_group(job):
        return Say(words(in_private))
    return Say(words(in_group), asks=words.plain(PLACEHOLDER_PHOTO if kind is Kind.PHOTO else PLACEHOLDER_VOICE))


def _offer_last_photo(words: Words, job: Job, last: Job, now: int) -> Say:
    return Say(
        words(STATUS_LAST_PHOTO),
        (
            Button(words.plain(BUTTON_LAST_PHOTO, when=words.ago(now - last.created_at)), f"last:{job.id}"),
            Button(words.plain(BUTTON_SEND_ANOTHER), f"another:{job.id}"),
        ),
    )


def _is_group(job: Job) -> bool:
    return job.chat_id < 0


def asks_in_group(words: Words, shown: str | None) -> bool:
    """Whether a status that is shown in a group is one of the questions, which want a reply."""
    return shown in {words(question) for question in _GROUP_QUESTIONS}


def _queued(words: Words, job: Job, outlook: Outlook) -> str:
    match outlook.halt:
        case Halt.ACCOUNT:
            return words(STATUS_PAUSED)
        case Halt.OPERATOR:
            return words(STATUS_HALTED)
        case Halt.SPENT:
            return words(STATUS_SPENT)
    if job.attempts:
        return words(STATUS_BUSY)
    return words(STATUS_QUEUED_ALBUM if job.album else STATUS_QUEUED, place=outlook.place or 1)


def _submitting(words: Words, job: Job, now: int) -> Say:
    if job.reason == SUBMIT_UNKNOWN:
        choice = (
            Button(words.plain(BUTTON_RISK), f"risk:{job.id}"),
            Button(words.plain(BUTTON_LEAVE), f"leave:{job.id}"),
        )
        return Say(words(STATUS_UNSURE), choice)
    waited_ms = now - (job.submitted_at or now)
    return Say(words(STATUS_UNHEARD if waited_ms > _USUAL_ANSWER_MS else STATUS_SUBMITTING))


def _rendering(words: Words, job: Job, outlook: Outlook) -> str:
    elapsed_ms = outlook.now - (job.submitted_at or outlook.now)
    usual = outlook.estimate
    if usual is None:
        return f"{words(STATUS_RENDERING)} {words(ESTIMATE_UNKNOWN)}"
    return "\n".join(
        (words(STATUS_RENDERING), bar(words, elapsed_ms / max(1, usual.usual_ms)), left(words, usual, elapsed_ms))
    )


def bar(words: Words, share: float) -> str:
    """A bar in tenths, and the same in percent."""
    tenths = int(min(max(share, 0), _FULLEST) * _BAR_LENGTH)
    return f"{'▰' * tenths}{'▱' * (_BAR_LENGTH - tenths)} {words.percent(tenths / _BAR_LENGTH)}"


def left(words: Words, usual: Estimate, elapsed_ms: int) -> str:
    """What is left of a render."""
    left_seconds = (usual.usual_ms - elapsed_ms) / 1000
    if elapsed_ms > usual.late_ms:
        return words(ESTIMATE_LATE)
    if left_seconds <= 0:
        return words(ESTIMATE_SOON)
    if left_seconds <= 60:  # noqa: PLR2004 - seconds
        return words(ESTIMATE_MINUTE)
    return words(ESTIMATE_LEFT, time=words.duration(max(120, left_seconds + 30)))
