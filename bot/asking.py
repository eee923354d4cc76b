"""Asking for a video: photos and voice notes, `/talk` and `/again`, and what counts as what."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from telegram import Bot, Document, ExternalReplyInfo, Message

from bot import texts
from bot.answers import answer, thread_of
from bot.callers import Caller
from bot.texts import Say
from storage.drafts import Drafts, Half, Kind, is_complete
from storage.job import State
from storage.repeats import Repeats

_SOUND_NAMES = (
    *(".mp3", ".m4a", ".wav", ".flac", ".ogg", ".oga", ".opus", ".aac", ".amr"),
    *(".mp4", ".mov", ".webm", ".mkv"),
)


@dataclass(frozen=True)
class Asking:
    bot: Bot
    drafts: Drafts
    repeats: Repeats
    ring: Callable[[], None]

    async def talk(self, caller: Caller, message: Message, update_id: int) -> None:
        """`/talk`: takes what the message brings and what it replies to, whoever sent that, and asks for the rest."""
        await self._note(caller, message, update_id, [half_of(message), replied_half(message)])

    async def take_half(self, caller: Caller, message: Message, update_id: int) -> None:
        """Note a photo or a voice; if it is a voice that replies to a photo, note both."""
        half, replied = half_of(message), replied_half(message)
        takes_both = half is not None and half.kind is Kind.VOICE and replied is not None and replied.kind is Kind.PHOTO
        await self._note(caller, message, update_id, [half, replied if takes_both else None])

    async def take_edited(self, caller: Caller, message: Message, update_id: int) -> None:
        """An edited photo or voice counts as long as its draft lacks something; one that was not taken is new."""
        job = await self.drafts.with_message(message.chat_id, message.message_id)
        if job is None or (job.state is State.COLLECTING and not is_complete(job)):
            await self.take_half(caller, message, update_id)

    async def again(self, caller: Caller, message: Message, update_id: int) -> None:
        """`/again`: the last photo once more; only a voice is asked for."""
        if await self.repeats.with_last_photo(update_id=update_id, **_whose(caller, message)):
            self.ring()
        else:
            await answer(self.bot, message, Say(caller.words(texts.NO_PHOTO_YET)))

    async def ask_anew(self, caller: Caller, message: Message, update_id: int) -> None:
        """Somebody in a group has replied to us with mere words: what is missing is asked for once more."""
        where = {"chat_id": message.chat_id, "thread_id": thread_of(message), "user_id": caller.id}
        if await self.drafts.has_open(**where):
            await self._note(caller, message, update_id, [])

    async def explain(self, caller: Caller, message: Message) -> None:
        """Say what is needed to whoever sent something else."""
        text = texts.WHAT_I_NEED if message.text else texts.UNKNOWN_FILE
        await answer(self.bot, message, Say(caller.words(text)))

    async def _note(self, caller: Caller, message: Message, update_id: int, found: list[Half | None]) -> None:
        halves = {half.kind: half for half in reversed(found) if half is not None}  # of a kind the first one counts
        await self.drafts.add(list(halves.values()), update_id=update_id, **_whose(caller, message))
        self.ring()


def _whose(caller: Caller, message: Message) -> dict[str, Any]:
    return {
        "chat_id": message.chat_id,
        "thread_id": thread_of(message),
        "user_id": caller.id,
        "language": caller.words.language,
        "is_round": int(caller.peer.is_round),
        "asked_message_id": message.message_id,
    }


def half_of(message: Message) -> Half | None:
    """The file in a message that can serve as a half, or None. The kind is a guess: its bytes will decide."""
    return _half(message, message.message_id, message.media_group_id)


def replied_half(message: Message) -> Half | None:
    """The file in the message that is replied to, be it in another chat."""
    if message.reply_to_message is not None:
        return half_of(message.reply_to_message)
    if message.external_reply is not None:
        return _half(message.external_reply, message.message_id, None)
    return None


def _half(source: Message | ExternalReplyInfo, message_id: int, album: str | None) -> Half | None:
    sound = source.voice or source.audio or source.video_note or source.video
    if source.photo:
        file: Any = max(source.photo, key=lambda size: size.width * size.height)
        kind = Kind.PHOTO
    elif sound is not None:
        file, kind = sound, Kind.VOICE
    elif source.document is not None:
        file, kind = source.document, _kind_of_document(source.document)
    else:
        return None
    return Half(kind, message_id, file.file_id, file.file_size, album)


def _kind_of_document(document: Document) -> Kind:
    mime_type, name = (document.mime_type or "").lower(), (document.file_name or "").lower()
    sounds = mime_type.startswith(("audio/", "video/")) or name.endswith(_SOUND_NAMES)
    return Kind.VOICE if sounds and not mime_type.startswith("image/") else Kind.PHOTO
