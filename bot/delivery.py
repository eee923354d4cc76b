"""Getting messages and videos into a chat, and telling afterwards what may have happened."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from telegram import InlineKeyboardMarkup, InputFile, InputMediaVideo, Message, ReplyParameters
from telegram.constants import ChatAction, ParseMode
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bot import texts
from bot.answers import keyboard
from bot.clock import Clock
from bot.limiter import STATUS
from bot.media import Clip, MediaRefused, Studio
from bot.outcomes import DeliveryFailed, telling_apart
from bot.sizes import TELEGRAMS_OWN
from bot.texts import Say, words_for
from storage.job import Job
from storage.objects import ObjectStore

_SEND_TIMEOUT_SECONDS = 180  # Telegram answers only after it has processed the video
_LINK_TTL_SECONDS = 6 * 24 * 3600


Place = dict[str, Any]
"""Where in a chat a message goes: its topic, and what it replies to, as the Bot API names them."""


@dataclass(frozen=True, slots=True)
class Delivered:
    message_id: int
    file_id: str | None
    is_round: bool = False


@dataclass(frozen=True, slots=True)
class Parcel:
    """A video that fits, ready to be streamed."""

    path: Path
    clip: Clip
    thumbnail: Path
    is_round: bool = False

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
        bot: ExtBot[Any],
        studio: Studio,
        store: ObjectStore,
        clock: Clock,
        scratch: Path,
        *,
        most_bytes: int = TELEGRAMS_OWN.up,
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

        async def send(place: Place) -> Message:
            with parcel.path.open("rb") as file, parcel.thumbnail.open("rb") as picture:
                video, thumbnail = _streamed(file, "video.mp4"), _streamed(picture, "thumbnail.jpg")
                patience: dict[str, Any] = {"read_timeout": _SEND_TIMEOUT_SECONDS}
                if parcel.is_round:
                    return await self._bot.send_video_note(
                        job.chat_id,
                        video,
                        duration=parcel.clip.duration_ms // 1000,
                        length=parcel.clip.width,
                        thumbnail=thumbnail,
                        **place,
                        **patience,
                    )
                return await self._bot.send_video(
                    job.chat_id, video, thumbnail=thumbnail, **place, **parcel.geometry, **patience
                )

        return _delivered(await _in_place(job, job.voice_message_id, send))

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
                with telling_apart():
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
    async def parcel(self, job: Job, *, is_round: bool = False) -> AsyncIterator[Parcel | None]:
        """The job's video as a file that Telegram takes, round if that is wished for and can be done.

        None where it can't be made small enough.
        """
        if job.video_key is None:
            raise ValueError(f"job {job.id} has no video")
        with TemporaryDirectory(dir=self._scratch) as folder:
            async with self._store.open(job.video_key) as stored:
                path = await self._round(stored, Path(folder)) if is_round else None
                is_round = path is not None
                path = path or await self._small_enough(stored, Path(folder))
                if path is None:
                    yield None
                    return
                thumbnail = Path(folder, "thumbnail.jpg")
                await self._studio.thumbnail(path, thumbnail)
                yield Parcel(path, await self._studio.clip(path), thumbnail, is_round)

    async def _round(self, stored: Path, folder: Path) -> Path | None:
        path = folder / "round.mp4"
        return path if await self._studio.round(stored, path) else None

    async def _small_enough(self, stored: Path, folder: Path) -> Path | None:
        if stored.stat().st_size <= self._most_bytes:
            return stored
        path = folder / "small.mp4"
        try:
            await self._studio.shrink(stored, path, max_bytes=self._most_bytes)
        except MediaRefused:
            return None
        return path

    async def _send_link(self, job: Job) -> Delivered:
        url = self._store.url(job.video_key or "", ttl_seconds=_LINK_TTL_SECONDS)
        words = words_for(job.language)
        text = words(texts.LINK, until=words.moment(self._clock.now() + _LINK_TTL_SECONDS * 1000), url=url)
        return Delivered(await self.say(job, Say(text), reply_to=job.voice_message_id), None)

    # --- words ---

    async def say(self, job: Job, say: Say, *, reply_to: int | None, is_status: bool = False) -> int:
        """Send a message about a job, and return its id. Raises `DeliveryFailed`."""

        async def send(place: Place) -> Message:
            return await self._bot.send_message(
                job.chat_id,
                say.text,
                parse_mode=ParseMode.HTML,
                reply_markup=keyboard(say),
                rate_limit_args=STATUS if is_status else None,
                **place,
            )

        return (await _in_place(job, reply_to, send)).message_id

    async def edit(self, job: Job, message_id: int, say: Say) -> bool:
        """Change a status message; False where there is nothing to change any more. Raises `DeliveryFailed`."""
        markup = keyboard(say)
        try:
            with telling_apart():
                await self._bot.edit_message_text(
                    say.text,
                    chat_id=job.chat_id,
                    message_id=message_id,
                    parse_mode=ParseMode.HTML,
                    reply_markup=markup if isinstance(markup, InlineKeyboardMarkup) else None,
                    rate_limit_args=STATUS,
                )
        except DeliveryFailed as failed:
            if failed.message_gone:
                return False
            if not failed.is_unchanged:
                raise
        return True

    async def remove(self, job: Job, message_id: int) -> None:
        """Take a message away; if somebody else did, or it can't be done, so be it. Raises `DeliveryFailed`."""
        try:
            with telling_apart():
                await self._bot.delete_message(job.chat_id, message_id)
        except DeliveryFailed as failed:
            if not failed.is_final:
                raise

    async def show_action(self, job: Job, action: ChatAction) -> None:
        """Let the chat see that something is being done; if that fails, nothing is lost."""
        with suppress(TelegramError):
            await self._bot.send_chat_action(job.chat_id, action, message_thread_id=job.thread_id or None)


async def _in_place(job: Job, reply_to: int | None, send: Callable[[Place], Awaitable[Message]]) -> Message:
    """Send into the job's topic, as a reply; without the one or the other where it is gone."""
    reply = ReplyParameters(reply_to, allow_sending_without_reply=True) if reply_to else None
    place: Place = {"message_thread_id": job.thread_id or None, "reply_parameters": reply}
    while True:
        try:
            with telling_apart():
                return await send(place)
        except DeliveryFailed as failed:
            if failed.thread_gone and place["message_thread_id"]:
                place["message_thread_id"] = None
            elif failed.replied_gone and place["reply_parameters"]:
                place["reply_parameters"] = None
            else:
                raise


def _streamed(file: Any, name: str, *, attach: bool = False) -> InputFile:
    return InputFile(file, filename=name, attach=attach, read_file_handle=False)


def _delivered(message: Message) -> Delivered:
    file = message.video or message.video_note
    return Delivered(message.message_id, file.file_id if file else None, message.video_note is not None)
