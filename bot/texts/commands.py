"""What is said to those who greet the bot, command it, or press its buttons."""

from bot.texts.saying import Button, Say
from bot.texts.words import LANGUAGES, N_, NN_, Words, in_language
from storage.job import FREE, Job
from storage.quotas import Left

WELCOME = N_(
    "Hi! I make photos talk.\n\n"
    "Send me a photo with a face and a voice note, in either order, and I'll send you back a video "
    "in which the photo says it.\n\n"
    "/help tells more."
)
WELCOME_GROUP = N_(
    "Hi! I make photos talk. Send /talk, or reply with /talk to a photo or a voice note, and I'll make a video of it. "
    "Until then I'm silent."
)
GROUP_LACKS_VIDEOS = N_("I may not send videos here yet. Please have an admin of this group allow it.")
GROUP_LACKS_MESSAGES = N_(
    "Somebody has added me to the group “{group}”, but I may not write there. Please have an admin allow it."
)
HELP = N_(
    "1. Send a photo: one face, seen from the front, in good light.\n"
    "2. Send a voice note, up to {max_voice}.\n"
    "3. Wait a few minutes. The video comes as a reply to your voice note.\n\n"
    "Pictures and sound may also come as files (PNG, WebP, HEIC, mp3, m4a, wav …). To choose a photo that was sent "
    "before, reply to it with your voice note. "
    "View-once photos and voice notes never reach me: please send them as ordinary ones.\n\n"
    "In a group, send /talk and answer what I ask, or reply with /talk to a photo or a voice note.\n\n"
    "/status shows what I'm working on, /cancel stops it, /again takes your last photo, /history sends old videos "
    "again, /settings changes the language, /forget deletes everything."
)
WHAT_I_NEED = N_("I need a photo and a voice note. Send me both, in either order, and I'll make the photo talk.")
UNKNOWN_FILE = N_("I can't use that. Please send a photo, or a voice note.")
NOTHING_OPEN = N_("I'm not working on anything of yours. Send me a photo and a voice note to begin.")
STRANGER = N_(
    "This bot is private, and I don't know you yet. "
    "If you'd like to use it, give its operator this number, which is your id: {id}"
)
STRANGERS = N_(
    "This bot is private, and I know neither you nor this group yet. Its operator can let you in by your id, {id}, "
    "or the group by its id, {chat_id}."
)
LINK = N_("Your video is too large for Telegram. You can fetch it here until {until}:\n{url}")

CANCELLED = N_("Cancelled. Nothing was spent.")
CANCELLED_PAID = N_("Cancelled. The video was already being made, so it still counts.")
ALREADY_PAID = N_("Your video is already being made, and paid for. Shall I keep it from you all the same?")
CANCEL_WHICH = N_("Which one shall I cancel?")
NO_PHOTO_YET = N_("I have no photo of yours here yet. Please send me one.")

HISTORY = N_("Your last videos. Tap one, and I'll send it again.")
NO_HISTORY = N_("I haven't made a video for you yet. Send me a photo and a voice note to begin.")
VIDEO_GONE = N_("Telegram no longer has that video. I'm sorry.")

FORGET = N_(
    "Shall I delete everything of yours that I have: photos, voice notes, videos, and what I'm working on? "
    "This can't be undone."
)
FORGOTTEN = N_(
    "Done. I have deleted your photos, voice notes, videos and jobs; only how much was paid, and when, stays in my "
    "books, without you. The video service keeps the videos that it made for 7 days, by its own word. What stands "
    "in your chats stays with Telegram until you delete it there."
)
NOT_FORGOTTEN = N_("All right, nothing was deleted.")

SETTINGS = N_("Your settings:")
CHOOSE_LANGUAGE = N_("Which language shall I speak with you?")
SAVED = N_("Saved.")
DONE = N_("Done.")
HERE_IT_IS = N_("Here it is.")
FOR_GROUP_ADMINS = N_("Only an admin of this group can change that.")

TOO_LATE = N_("That's over already.")
NOT_YOURS = N_("This button is for somebody else.")
WILL_TRY_AGAIN = N_("I'll try again.")
WILL_COME = N_("All right, the video will come.")
LEFT = N_("All right, I've left it.")
USED = N_("All right, I'll use it.")
SEND_PHOTO = N_("Please send another photo.")
SEND_VOICE = N_("Please send another voice note.")

LEFT_TODAY = NN_("You have {n} more video today.", "You have {n} more videos today.")
LEFT_TODAY_CHAT = NN_("This group has {n} more video today.", "This group has {n} more videos today.")

BUTTON_CANCEL_ANYWAY = N_("Yes, cancel")
BUTTON_CANCEL_NOT = N_("No, send it to me")
BUTTON_FORGET = N_("Delete everything")
BUTTON_FORGET_NOT = N_("Keep it")
BUTTON_LANGUAGE = N_("Language: {name}")
BUTTON_LIKE_TELEGRAM = N_("As in my Telegram")
BUTTON_ROUND = N_("Videos: round")
BUTTON_SQUARE = N_("Videos: ordinary")
BUTTON_TIDIES = N_("Clean up after a video: yes")
BUTTON_KEEPS = N_("Clean up after a video: no")
BUTTON_HISTORY = N_("{when}, {length}")

PLACEHOLDER_PHOTO = N_("A photo")
PLACEHOLDER_VOICE = N_("A voice note")

COMMANDS = {
    "talk": N_("Make a photo talk"),
    "again": N_("A new video from your last photo"),
    "status": N_("What I'm working on"),
    "cancel": N_("Stop it"),
    "history": N_("Your last videos"),
    "settings": N_("Language and form of the videos"),
    "forget": N_("Delete everything of yours"),
    "help": N_("How it works"),
}
GROUP_COMMANDS = ("talk", "again", "status", "cancel", "settings", "help")
DESCRIPTION = N_("I make photos talk. Send me a photo with a face and a voice note, and I'll send you back a video.")
SHORT_DESCRIPTION = N_("Makes photos talk: send a photo and a voice note.")


def stranger(words: Words, user_id: int, *, chat_id: int | None = None) -> Say:
    """Who is not let in gets the id to hand to the operator; in a group its id too."""
    if chat_id is None:
        return Say(words(STRANGER, id=str(user_id)))
    return Say(words(STRANGERS, id=str(user_id), chat_id=str(chat_id)))


def help_(words: Words, *, max_voice_seconds: float) -> Say:
    return Say(words(HELP, max_voice=words.duration(max_voice_seconds)))


def left_today(words: Words, left: Left) -> list[str]:
    """A sentence for each limit that there is."""
    sentences = [(LEFT_TODAY, left.daily), (LEFT_TODAY_CHAT, left.chat)]
    return [words.counted(message, n) for message, n in sentences if n is not None]


def cancelled(job: Job) -> str:
    """What is said of a job that was just cancelled."""
    was_in, _ = job.story[-2]
    return CANCELLED if was_in in FREE and not job.paid else CANCELLED_PAID


def already_paid(words: Words, job: Job) -> Say:
    return Say(
        words(ALREADY_PAID),
        (
            Button(words.plain(BUTTON_CANCEL_ANYWAY), f"cancel:{job.id}"),
            Button(words.plain(BUTTON_CANCEL_NOT), f"keep:{job.id}"),
        ),
    )


def forget(words: Words, user_id: int) -> Say:
    return Say(
        words(FORGET),
        (
            Button(words.plain(BUTTON_FORGET), f"forget:{user_id}"),
            Button(words.plain(BUTTON_FORGET_NOT), f"forget-not:{user_id}"),
        ),
    )


def history(words: Words, videos: list[Job], *, now: int) -> Say:
    """A button for each video that can be sent again."""
    if not videos:
        return Say(words(NO_HISTORY))
    buttons = [
        Button(
            words.plain(BUTTON_HISTORY, when=words.ago(now - job.created_at), length=_length(words, job)),
            f"send:{job.id}",
        )
        for job in videos
    ]
    return Say(words(HISTORY), tuple(buttons))


def _length(words: Words, job: Job) -> str:
    return words.duration(max(1, (job.voice_ms or 0) / 1000))


def settings(words: Words, user_id: int, *, is_round: bool, keeps_chatter: bool | None) -> Say:
    """`keeps_chatter` is the group's, None in private."""
    buttons = [
        Button(words.plain(BUTTON_LANGUAGE, name=words.own_name), f"languages:{user_id}"),
        Button(
            words.plain(BUTTON_ROUND if is_round else BUTTON_SQUARE), f"{'square' if is_round else 'round'}:{user_id}"
        ),
    ]
    if keeps_chatter is not None:
        label, action = (BUTTON_KEEPS, "tidy") if keeps_chatter else (BUTTON_TIDIES, "untidy")
        buttons.append(Button(words.plain(label), f"{action}:{user_id}"))
    return Say(words(SETTINGS), tuple(buttons))


def languages(words: Words, user_id: int) -> Say:
    choices = [Button(in_language(language).own_name, f"language-{language}:{user_id}") for language in LANGUAGES]
    automatic = Button(words.plain(BUTTON_LIKE_TELEGRAM), f"language-:{user_id}")
    return Say(words(CHOOSE_LANGUAGE), (*choices, automatic))
