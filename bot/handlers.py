"""The conversation: what people send, and what they get told at once.

A handler reads an update, writes rows, and answers. Whatever takes long is done by the loops.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from telegram import Bot, ChatMember, Document, Message, ReplyParameters, Update
from telegram.constants import ChatType
from telegram.error import Forbidden
from telegram.ext import (
    ApplicationHandlerStop,
    CallbackContext,
    CommandHandler,
    MessageHandler,
    TypeHandler,
    filters,
)

from bot import texts
from bot.config import Ids, Settings
from bot.delivery import keyboard
from bot.patience import HOUR_MS
from bot.telegram import TelegramApplication
from bot.texts import Button, Say
from storage.drafts import Drafts, Half, Kind
from storage.jobs import FREE, OPEN, Job, Jobs
from storage.ledger import Ledger
from storage.notices import Notices

Context = CallbackContext[Any, Any, Any, Any]

_SOUND_NAMES = (
    ".mp3",
    ".m4a",
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".aac",
    ".mp4",
    ".mov",
    ".webm",
    ".mkv",
    ".amr",
)


@dataclass(frozen=True)
class Handlers:
    settings: Settings
    jobs: Jobs
    drafts: Drafts
    ledger: Ledger
    notices: Notices
    ring: Callable[[], None]

    def register(self, application: TelegramApplication) -> None:
        new = filters.UpdateType.MESSAGE
        private = filters.ChatType.PRIVATE & new
        application.add_handler(TypeHandler(Update, self.follow_chat), group=-2)
        application.add_handler(TypeHandler(Update, self.check_access), group=-1)
        application.add_handler(CommandHandler("start", self.start, filters=new))
        application.add_handler(CommandHandler("help", self.help, filters=new))
        application.add_handler(CommandHandler("status", self.status, filters=new))
        application.add_handler(CommandHandler("cancel", self.cancel, filters=new))
        application.add_handler(MessageHandler(private & _HasHalf(), self.take_half))
        application.add_handler(MessageHandler(private & _SaidSomething(), self.explain))

    # --- what becomes of a chat ---

    async def follow_chat(self, update: Update, _context: Context) -> None:
        """Whoever it is that speaks: what waits for that chat, since it had blocked us, is brought to it now.

        A group that became a supergroup has another id; either of the two chats may tell.
        """
        message, change, chat = update.message, update.my_chat_member, update.effective_chat
        is_news = True
        if message is not None and message.migrate_to_chat_id is not None:
            await self.jobs.move_chat(message.chat_id, message.migrate_to_chat_id)
        elif message is not None and message.migrate_from_chat_id is not None:
            await self.jobs.move_chat(message.migrate_from_chat_id, message.chat_id)
        elif change is not None and change.new_chat_member.status in (ChatMember.BANNED, ChatMember.LEFT):
            is_news = False
        else:
            is_news = chat is not None and await self.jobs.wake_chat(chat.id)
        if is_news:
            self.ring()

    # --- access ---

    async def check_access(self, update: Update, context: Context) -> None:
        """Stop here for whoever is not allowed; tell them so in private, at most once an hour."""
        user, chat = update.effective_user, update.effective_chat
        if user is not None and _among(user.id, self.settings.allowed_users | self.settings.admin_users):
            return
        if chat is not None and _among(chat.id, self.settings.allowed_chats):
            return
        message = update.message
        if (
            user
            and message
            and message.chat.type == ChatType.PRIVATE
            and await self.notices.is_new(f"stranger:{user.id}", for_ms=HOUR_MS)
        ):
            await _answer(context.bot, message, Say(texts.stranger(user.id)))
        raise ApplicationHandlerStop

    # --- commands ---

    async def start(self, update: Update, context: Context) -> None:
        await _answer(context.bot, _message(update), Say(texts.WELCOME))

    async def help(self, update: Update, context: Context) -> None:
        text = texts.HELP.format(max_voice=texts.duration(self.settings.max_voice_seconds))
        await _answer(context.bot, _message(update), Say(text))

    async def status(self, update: Update, context: Context) -> None:
        """Say where each open job of the sender's stands."""
        jobs = await self._open_jobs(update)
        says = [texts.status(job, place=await self.jobs.place_in_queue(job)).text for job in reversed(jobs)]
        await _answer(context.bot, _message(update), Say("\n".join(says) or texts.NOTHING_OPEN))

    async def cancel(self, update: Update, context: Context) -> None:
        """Cancel the sender's newest open job, where it costs nothing; else ask first."""
        say = Say(texts.NOTHING_OPEN)
        for job in (await self._open_jobs(update))[:1]:
            if await self.ledger.cancel(job.id, states=FREE):
                say = Say(texts.CANCELLED)
            else:
                say = Say(texts.ALREADY_PAID, (Button(texts.BUTTON_CANCEL_ANYWAY, f"cancel:{job.id}"),))
        self.ring()
        await _answer(context.bot, _message(update), say)

    async def _open_jobs(self, update: Update) -> list[Job]:
        message = _message(update)
        return list(await self.jobs.list(states=OPEN, chat_id=message.chat_id, user_id=sender_id(message)))

    # --- halves ---

    async def take_half(self, update: Update, _context: Context) -> None:
        """Note a photo or a voice; if it is a voice that replies to a photo, note both."""
        message = _message(update)
        halves = [half_of(message)]
        replied = message.reply_to_message
        if halves[0] is not None and halves[0].kind is Kind.VOICE and replied is not None:
            photo = half_of(replied)
            halves = [photo, *halves] if photo is not None and photo.kind is Kind.PHOTO else halves
        await self.drafts.add(
            [half for half in halves if half is not None],
            update_id=update.update_id,
            chat_id=message.chat_id,
            thread_id=_thread_of(message),
            user_id=sender_id(message),
        )
        self.ring()

    async def explain(self, update: Update, context: Context) -> None:
        """Say what is needed to whoever sent something else."""
        message = _message(update)
        await _answer(context.bot, message, Say(texts.WHAT_I_NEED if message.text else texts.UNKNOWN_FILE))


def half_of(message: Message) -> Half | None:
    """The file in a message that can serve as a half, or None. The kind is a guess: its bytes will decide."""
    sound = message.voice or message.audio or message.video_note or message.video
    if message.photo:
        file: Any = max(message.photo, key=lambda size: size.width * size.height)
        kind = Kind.PHOTO
    elif sound is not None:
        file, kind = sound, Kind.VOICE
    elif message.document is not None:
        file, kind = message.document, _kind_of_document(message.document)
    else:
        return None
    return Half(kind, message.message_id, file.file_id, file.file_size)


def sender_id(message: Message) -> int:
    """Who a job belongs to. Behind a shared identity (an anonymous admin, a channel) that is the chat it speaks for."""
    if message.sender_chat is not None:
        return message.sender_chat.id
    return message.from_user.id if message.from_user is not None else message.chat_id


class _HasHalf(filters.MessageFilter):
    def filter(self, message: Message) -> bool:
        return half_of(message) is not None


class _SaidSomething(filters.MessageFilter):
    """Anything that a person sends on purpose, but not what Telegram itself reports (pins, new titles)."""

    def filter(self, message: Message) -> bool:
        return bool(message.text or message.effective_attachment)


def _kind_of_document(document: Document) -> Kind:
    mime_type, name = (document.mime_type or "").lower(), (document.file_name or "").lower()
    sounds = mime_type.startswith(("audio/", "video/")) or name.endswith(_SOUND_NAMES)
    return Kind.VOICE if sounds and not mime_type.startswith("image/") else Kind.PHOTO


def _thread_of(message: Message) -> int:
    return (message.message_thread_id or 0) if message.is_topic_message else 0


def _among(number: int, ids: Ids) -> bool:
    return "*" in ids or number in ids


def _message(update: Update) -> Message:
    if update.message is None:
        raise TypeError("this handler takes messages only")
    return update.message


async def _answer(bot: Bot, message: Message, say: Say) -> None:
    with suppress(Forbidden):  # blocked us right after writing
        await bot.send_message(
            message.chat_id,
            say.text,
            message_thread_id=_thread_of(message) or None,
            reply_parameters=ReplyParameters(message.message_id, allow_sending_without_reply=True),
            reply_markup=keyboard(say),
        )
