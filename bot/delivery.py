"""Getting messages and videos into a chat, and telling afterwards what may have happened."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from telegram import (
    Bot,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputFile,
    InputMediaVideo,
    Message,
    ReplyParameters,
)
from telegram.constants import ChatAction
from telegram.error import (
    BadRequest,
    ChatMigrated,
    Conflict,
    Forbidden,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
)

from bot import texts
from bot.clock import Clock
from bot.media import Clip, MediaRefused, Studio
from bot.telegram import MOST_BYTES_UP
from bot.texts import Say
from storage.jobs import Job
from storage.objects import ObjectStore

_SEND_TIMEOUT_SECONDS = 180  # Telegram answers only after it has processed the video
_LINK_TTL_SECONDS = 6 * 24 * 3600

# Descriptions of the Bot API server that will not change by trying again.
_CHAT_GONE = ("chat not found", "chat_write_forbidden", "peer_id_invalid", "user is deactivated")
_MESSAGE_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")


class DeliveryFailed(Exception):
    """A message did not get through, as far as we know.

    `may_be_sent`: whether it may stand in the chat all the same (the answer was lost).
    """

    def __init__(self, cause: TelegramError, *, may_be_sent: bool) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause
        self.may_be_sent = may_be_sent

    @property
    def retry_after_seconds(self) -> float:
        """How long Telegram asked us to wait for this chat."""
        wait = self.cause.retry_after if isinstance(self.cause, RetryAfter) else 0
        return wait.total_seconds() if isinstance(wait, timedelta) else wait

    @property
    def chat_gone(self) -> bool:
        """Whether the chat will have nothing of us: we were blocked or removed, or it exists no more."""
        return isinstance(self.cause, Forbidden) or self._says(_CHAT_GONE)

    @property
    def message_gone(self) -> bool:
        """Whether the message to be edited can't be."""
        return self._says(_MESSAGE_GONE)

    @property
    def is_unchanged(self) -> bool:
        """Whether the message said just this already."""
        return self._says(("message is not modified",))

    def _says(self, words: Sequence[str]) -> bool:
        return isinstance(self.cause, BadRequest) and any(word in self.cause.message.lower() for word in words)


@dataclass(frozen=True, slots=True)
class Delivered:
    message_id: int
    file_id: str | None


@dataclass(frozen=True, slots=True)
class Parcel:
    """A video that fits, ready to be streamed."""

    path: Path
    clip: Clip
    thumbnail: Path

    @property
    def geometry(self) -> dict[str, Any]:
        """What the server does not find out by itself for larger uploads."""
        return {
            "width": self.clip.width,
            "height": self.clip.height,
            "duration": self.clip.duration_ms // 1000,
            "supports_streaming": True,
        }


class Delivery:
    def __init__(
        self,
        bot: Bot,
        studio: Studio,
        store: ObjectStore,
        clock: Clock,
        scratch: Path,
        *,
        most_bytes: int = MOST_BYTES_UP,
    ) -> None:
        self._bot = bot
        self._studio = studio
        self._store = store
        self._clock = clock
        self._scratch = scratch
        self._most_bytes = most_bytes

    # --- the video ---

    async def send_video(self, job: Job, parcel: Parcel | None) -> Delivered:
        """Send the job's video as a reply to its voice note. Raises `DeliveryFailed`."""
        if parcel is None:
            return await self._send_link(job)
        with parcel.path.open("rb") as video, parcel.thumbnail.open("rb") as thumbnail, _telling_apart():
            message = await self._bot.send_video(
                job.chat_id,
                video=_streamed(video, "video.mp4"),
                thumbnail=_streamed(thumbnail, "thumbnail.jpg"),
                message_thread_id=job.thread_id or None,
                reply_parameters=_reply_to(job.voice_message_id),
                read_timeout=_SEND_TIMEOUT_SECONDS,
                **parcel.geometry,
            )
        return _delivered(message)

    async def turn_status_into_video(self, job: Job, parcel: Parcel | None) -> Delivered:
        """Edit the job's status message into its video: repeatable, and no second ping for who has it already.

        Where there is no such message any more, the video is sent again: twice is a blemish, never is a broken
        promise. Raises `DeliveryFailed`.
        """
        if job.status_message_id is None or parcel is None:
            return await self.send_video(job, parcel)
        with parcel.path.open("rb") as video, parcel.thumbnail.open("rb") as thumbnail:
            media = InputMediaVideo(
                _streamed(video, "video.mp4", attach=True),
                thumbnail=_streamed(thumbnail, "thumbnail.jpg", attach=True),
                **parcel.geometry,
            )
            try:
                with _telling_apart():
                    message = await self._bot.edit_message_media(
                        media,
                        chat_id=job.chat_id,
                        message_id=job.status_message_id,
                        read_timeout=_SEND_TIMEOUT_SECONDS,
                    )
            except DeliveryFailed as failed:
                if failed.is_unchanged:
                    return Delivered(job.status_message_id, None)
                if failed.message_gone:
                    return await self.send_video(job, parcel)
                raise
        return _delivered(message) if isinstance(message, Message) else Delivered(job.status_message_id, None)

    @asynccontextmanager
    async def parcel(self, job: Job) -> AsyncIterator[Parcel | None]:
        """The job's video as a file that Telegram takes; None where it can't be made small enough."""
        if job.video_key is None:
            raise ValueError(f"job {job.id} has no video")
        with TemporaryDirectory(dir=self._scratch) as folder:
            async with self._store.open(job.video_key) as stored:
                path = stored
                clip = await self._studio.clip(path)
                if clip.size_bytes > self._most_bytes:
                    path = Path(folder, "small.mp4")
                    try:
                        await self._studio.shrink(stored, path, max_bytes=self._most_bytes)
                    except MediaRefused:
                        yield None
                        return
                    clip = await self._studio.clip(path)
                thumbnail = Path(folder, "thumbnail.jpg")
                await self._studio.thumbnail(path, thumbnail)
                yield Parcel(path, clip, thumbnail)

    async def _send_link(self, job: Job) -> Delivered:
        url = self._store.url(job.video_key or "", ttl_seconds=_LINK_TTL_SECONDS)
        until = datetime.fromtimestamp(self._clock.now() / 1000 + _LINK_TTL_SECONDS, UTC)
        text = texts.LINK.format(until=f"{until:%d %B %Y, %H:%M} UTC", url=url)
        return Delivered(await self.say(job, Say(text), reply_to=job.voice_message_id), None)

    # --- words ---

    async def say(self, job: Job, say: Say, *, reply_to: int | None) -> int:
        """Send a message about a job, and return its id. Raises `DeliveryFailed`."""
        with _telling_apart():
            message = await self._bot.send_message(
                job.chat_id,
                say.text,
                message_thread_id=job.thread_id or None,
                reply_parameters=_reply_to(reply_to),
                reply_markup=keyboard(say),
            )
        return message.message_id

    async def edit(self, job: Job, message_id: int, say: Say) -> bool:
        """Change a message; False where there is nothing to change any more. Raises `DeliveryFailed`."""
        try:
            with _telling_apart():
                await self._bot.edit_message_text(
                    say.text, chat_id=job.chat_id, message_id=message_id, reply_markup=keyboard(say)
                )
        except DeliveryFailed as failed:
            if failed.message_gone:
                return False
            if not failed.is_unchanged:
                raise
        return True

    async def remove(self, job: Job, message_id: int) -> None:
        """Take a message away; if somebody else did, or it is too old, so much the better. Raises `DeliveryFailed`."""
        try:
            with _telling_apart():
                await self._bot.delete_message(job.chat_id, message_id)
        except DeliveryFailed as failed:
            if not isinstance(failed.cause, BadRequest):
                raise

    async def show_action(self, job: Job, action: ChatAction) -> None:
        with _telling_apart():
            await self._bot.send_chat_action(job.chat_id, action, message_thread_id=job.thread_id or None)


def keyboard(say: Say) -> InlineKeyboardMarkup | None:
    rows = [[InlineKeyboardButton(button.label, callback_data=button.data)] for button in say.buttons]
    return InlineKeyboardMarkup(rows) if rows else None


class _telling_apart:  # noqa: N801 - used as a statement
    """Turns Telegram's errors into `DeliveryFailed`, by what they tell of the message's fate."""

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, TelegramError):
            raise DeliveryFailed(error, may_be_sent=not _surely_unsent(error)) from error


def _surely_unsent(error: TelegramError) -> bool:
    """Whether the request never left us, or the Bot API server itself answered that it failed."""
    if isinstance(error, RetryAfter | BadRequest | Forbidden | ChatMigrated | InvalidToken | Conflict):
        return True
    never_left = isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
    answered_in_json = isinstance(error, NetworkError) and error.__cause__ is None
    return never_left or answered_in_json


def _reply_to(message_id: int | None) -> ReplyParameters | None:
    return ReplyParameters(message_id, allow_sending_without_reply=True) if message_id else None


def _streamed(file: Any, name: str, *, attach: bool = False) -> InputFile:
    return InputFile(file, filename=name, attach=attach, read_file_handle=False)


def _delivered(message: Message) -> Delivered:
    return Delivered(message.message_id, message.video.file_id if message.video else None)
