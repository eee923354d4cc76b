"""A chat of the local Telegram: what stands in it, and what people do there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bot.sandbox.entities import entities
from bot.sandbox.files import File, Files, Raw
from bot.sandbox.stand_in import Call
from bot.sandbox.updates import Updates


class Telegram(Protocol):
    """What a chat needs of the server that it lives in."""

    me: Raw
    files: Files
    updates: Updates
    calls: list[Call]

    @property
    def now_ms(self) -> int: ...

    async def announce(self) -> None: ...

    async def wait_until(self, look: Callable[[], Any], *, timeout_seconds: float) -> Any: ...


@dataclass(eq=False)
class Message:
    """A message as the Bot API shows it (`raw`), and the file that it carries, if any."""

    raw: Raw
    file: File | None = None
    asks: Raw | None = None
    """The ForceReply that it was sent with; such a message can't be edited."""

    @property
    def id(self) -> int:
        return int(self.raw["message_id"])

    @property
    def text(self) -> str:
        """Its text or caption."""
        return str(self.raw.get("text") or self.raw.get("caption") or "")

    @property
    def is_from_bot(self) -> bool:
        return bool(self.raw["from"]["is_bot"])

    @property
    def reply_to_id(self) -> int | None:
        return self.raw["reply_to_message"]["message_id"] if "reply_to_message" in self.raw else None

    @property
    def video(self) -> Raw | None:
        return self.raw.get("video")

    @property
    def buttons(self) -> dict[str, str]:
        """The inline keyboard: callback data (or the URL) by label."""
        rows = self.raw.get("reply_markup", {}).get("inline_keyboard", [])
        return {button["text"]: button.get("callback_data") or button.get("url", "") for row in rows for button in row}


class Chat:
    """`messages` is what stands in the chat now, in order, the bot's messages and people's."""

    def __init__(self, telegram: Telegram, raw: Raw, *, owner: Raw | None = None, topics: Sequence[int] = ()) -> None:
        self.raw = raw
        self.messages: list[Message] = []
        self.topics = frozenset(topics)
        self.admins: set[int] = set()
        self._telegram = telegram
        self._owner = owner
        self._last_message_id = 0
        self._callbacks = 0

    @property
    def id(self) -> int:
        return int(self.raw["id"])

    @property
    def is_private(self) -> bool:
        return self._owner is not None

    @property
    def history(self) -> list[Call]:
        """The bot's calls that name this chat, oldest first."""
        return [call for call in self._telegram.calls if call.parameters.get("chat_id") == self.id]

    def find(self, message_id: object) -> Message | None:
        return next((message for message in self.messages if message.id == message_id), None)

    def add(
        self, sender: Raw, content: Raw, *, file: File | None, reply_to: Message | None, thread_id: int | None
    ) -> Message:
        """Put a message at the end, and say nothing of it to the bot."""
        self._last_message_id += 1
        raw: Raw = {
            "message_id": self._last_message_id,
            "from": sender,
            "chat": self.raw,
            "date": self._telegram.now_ms // 1000,
        }
        if thread_id:
            raw["message_thread_id"] = thread_id
        if thread_id in self.topics:
            raw["is_topic_message"] = True
        if reply_to:
            raw["reply_to_message"] = {key: value for key, value in reply_to.raw.items() if key != "reply_to_message"}
        message = Message(raw | content, file)
        self.messages.append(message)
        return message

    # --- what people do ---

    async def send_text(self, text: str, **about: Any) -> Message:
        return await self._say({"text": text} | entities(text, "entities"), **about)

    async def send_photo(self, source: Path | bytes, *, caption: str = "", **about: Any) -> Message:
        return await self._send("photo", source, "photo.jpg", "image/jpeg", caption=caption, **about)

    async def send_voice(self, source: Path | bytes, *, duration: int = 5, **about: Any) -> Message:
        return await self._send("voice", source, "voice.ogg", "audio/ogg", duration=duration, **about)

    async def send_audio(
        self,
        source: Path | bytes,
        *,
        duration: int = 5,
        file_name: str = "song.mp3",
        mime_type: str = "audio/mpeg",
        **about: Any,
    ) -> Message:
        return await self._send("audio", source, file_name, mime_type, duration=duration, **about)

    async def send_document(
        self, source: Path | bytes, file_name: str = "file", mime_type: str | None = None, **about: Any
    ) -> Message:
        return await self._send("document", source, file_name, mime_type, **about)

    async def send_video(self, source: Path | bytes, *, duration: int = 5, **about: Any) -> Message:
        return await self._send("video", source, "video.mp4", "video/mp4", duration=duration, **about)

    async def send_video_note(self, source: Path | bytes, *, duration: int = 5, **about: Any) -> Message:
        return await self._send("video_note", source, "note.mp4", "video/mp4", duration=duration, **about)

    async def send_sticker(self, source: Path | bytes, **about: Any) -> Message:
        return await self._send("sticker", source, "sticker.webp", "image/webp", **about)

    async def press(self, message: Message, button: str, *, by: Raw | None = None) -> str:
        """Press a button, named by its label or its callback data; returns the callback query's id."""
        data = message.buttons.get(button, button)
        if data not in message.buttons.values():
            raise ValueError(f"no button {button!r} among {message.buttons}")
        self._callbacks += 1
        query_id = f"{abs(self.id)}{self._callbacks:06}"
        person = self._person(by)
        inaccessible = {"chat": self.raw, "message_id": message.id, "date": 0}
        query = {
            "id": query_id,
            "from": person,
            "message": message.raw if message in self.messages else inaccessible,
            "chat_instance": str(self.id),
            "data": data,
        }
        await self._telegram.updates.add("callback_query", query, lane=f"user {person['id']}")
        return query_id

    async def delete(self, message: Message) -> None:
        """Take a message away as people do; the bot is not told."""
        self.messages.remove(message)
        await self._telegram.announce()

    async def wait_for(self, look: Callable[[Message], Any], *, timeout_seconds: float = 10) -> Message:
        """The first message in the chat for which `look` is true, now or later.

        Raises `TimeoutError`, which tells what stands in the chat instead.
        """
        try:
            found: Message = await self._telegram.wait_until(
                lambda: next(filter(look, self.messages), None), timeout_seconds=timeout_seconds
            )
        except TimeoutError:
            raise TimeoutError(f"nothing like that within {timeout_seconds} s; the chat reads:\n{self}") from None
        return found

    def __str__(self) -> str:
        return "\n".join(
            f"{message.id} {message.raw['from']['first_name']}: "
            + (message.text or ", ".join(message.raw.keys() - self._BARE))
            for message in self.messages
        )

    _BARE = frozenset({"message_id", "from", "chat", "date", "reply_to_message", "reply_markup"})

    async def _send(
        self,
        kind: str,
        source: Path | bytes,
        file_name: str,
        mime_type: str | None,
        *,
        caption: str = "",
        duration: int | None = None,
        file_size: int | None = None,
        **about: Any,
    ) -> Message:
        file = self._telegram.files.add(_bytes(source), file_name, mime_type=mime_type, claimed_size=file_size)
        content = self._telegram.files.describe(kind, file, {"duration": duration})
        if caption:
            content |= {"caption": caption} | entities(caption, "caption_entities")
        return await self._say(content, file=file, **about)

    async def _say(
        self,
        content: Raw,
        *,
        by: Raw | None = None,
        file: File | None = None,
        reply_to: Message | None = None,
        thread_id: int | None = None,
        **fields: Any,
    ) -> Message:
        """`fields` are further fields of the Message object, in the Bot API's words."""
        message = self.add(self._person(by), content | fields, file=file, reply_to=reply_to, thread_id=thread_id)
        if self._reaches_bot(message):
            await self._telegram.updates.add("message", message.raw, lane=f"chat {self.id}")
        await self._telegram.announce()
        return message

    def _person(self, by: Raw | None) -> Raw:
        person = by or self._owner
        if person is None:
            raise ValueError("in a group say who it is: by=api.user(…)")
        return person

    def _reaches_bot(self, message: Message) -> bool:
        """In a group with privacy mode on: commands that may be the bot's, and replies to it.

        https://core.telegram.org/bots/features#privacy-mode
        """
        if self.is_private or self._telegram.me["can_read_all_group_messages"]:
            return True
        answered = message.raw.get("reply_to_message", {}).get("from", {}).get("id")
        if answered == self._telegram.me["id"]:
            return True
        commands = [word for word in message.text.split() if word.startswith("/")]
        return any(command.partition("@")[2] in {"", self._telegram.me["username"]} for command in commands)


def _bytes(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()
