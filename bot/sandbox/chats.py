"""A chat of the local Telegram, and what people do there."""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from bot.sandbox import messages
from bot.sandbox.entities import entities
from bot.sandbox.files import MEDIA_KINDS, File, Raw
from bot.sandbox.members import Status, chat_member
from bot.sandbox.messages import Message, Sender
from bot.sandbox.rooms import Room

__all__ = ["Chat", "Message", "Sender"]

_FEWEST_IN_ALBUM, _MOST_IN_ALBUM = 2, 10


class Chat(Room):
    """What people say takes `by` (a user or a `Sender`; in a private chat its owner), `reply_to` and `thread_id`.

    Further fields of the Message object come in the Bot API's words: `forward_origin={…}`, `external_reply={…}`.
    """

    _callbacks = 0

    # --- what people do ---

    async def send_text(self, text: str, **about: Any) -> Message:
        return await self._say(_worded("text", "entities", text), **about)

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

    async def send_album(
        self, sources: Sequence[Path | bytes], *, kind: str = "photo", captions: Sequence[str] = (), **about: Any
    ) -> list[Message]:
        """Send 2-10 photos (or documents, audios, videos) at once, with as many captions as there are."""
        if not _FEWEST_IN_ALBUM <= len(sources) <= _MOST_IN_ALBUM:
            raise ValueError(f"an album of {len(sources)}")
        send = getattr(self, f"send_{kind}")
        group_id = f"{abs(self.id)}{self._last_message_id:06}"
        pairs = zip_longest(sources, captions, fillvalue="")
        return [await send(source, caption=caption, media_group_id=group_id, **about) for source, caption in pairs]

    async def send_service(self, **about: Any) -> Message:
        """What Telegram itself notes in a chat: `new_chat_members=[…]`, `migrate_to_chat_id=…`."""
        return await self._say({}, **about)

    async def edit(
        self,
        message: Message,
        *,
        text: str | None = None,
        photo: Path | bytes | None = None,
        caption: str | None = None,
    ) -> None:
        """Change a message as its sender does; what is not given stays."""
        raw = message.raw | {"edit_date": self._telegram.now_ms // 1000}
        if photo is not None:
            message.file = self._telegram.files.add(_bytes(photo), "photo.jpg", mime_type="image/jpeg", kind="photo")
            raw = {name: value for name, value in raw.items() if name not in MEDIA_KINDS}
            raw |= self._telegram.files.describe("photo", message.file, {})
        for name, names, words in (("text", "entities", text), ("caption", "caption_entities", caption)):
            if words is not None:
                raw = {key: value for key, value in raw.items() if key not in {name, names}}
                raw |= _worded(name, names, words)
        message.raw = raw
        await self._tell("edited_message", message)

    async def press(self, message: Message, button: str, *, by: Raw | None = None) -> str:
        """Press a button, named by its label or its callback data; returns the callback query's id.

        Also who speaks as their group or channel presses as themselves.
        """
        data = message.buttons.get(button, button)
        if data not in message.buttons.values():
            raise ValueError(f"no button {button!r} among {message.buttons}")
        self._callbacks += 1
        query_id = f"{abs(self.id)}{self._callbacks:06}"
        person = self._sender(by).user
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

    async def bot_is(self, status: Status, *, by: Raw | None = None, **rights: bool | int) -> None:
        """Make the bot a member, an administrator, restricted, or gone ("left", "kicked"; in a private chat blocked).

        The bot is told; `rights` are the fields of its new ChatMember that differ from what `chat_member` says.
        """
        before, self.bot_member = self.bot_member, chat_member(self._telegram.me, status, self.permissions, **rights)
        change = {
            "chat": self.raw,
            "from": self._sender(by).user,
            "date": self._telegram.now_ms // 1000,
            "old_chat_member": before,
            "new_chat_member": self.bot_member,
        }
        await self._telegram.updates.add("my_chat_member", change, lane=f"chat {self.id}")
        await self._telegram.announce()

    # --- who speaks in another name ---

    def anonymous_admin(self) -> Sender:
        return messages.anonymous_admin(self.raw)

    def channel(self, chat_id: int = -1001999999999, title: str = "News") -> Sender:
        """Somebody who writes here in the name of a channel."""
        return messages.channel(chat_id, title)

    def linked_channel(self, chat_id: int = -1001999999999, title: str = "News") -> Sender:
        """The channel whose posts are forwarded here automatically."""
        return messages.linked_channel(chat_id, title, now=self._telegram.now_ms // 1000)

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
        file = self._telegram.files.add(
            _bytes(source), file_name, mime_type=mime_type, kind=kind, claimed_size=file_size
        )
        content = self._telegram.files.describe(kind, file, {"duration": duration})
        return await self._say(content | _worded("caption", "caption_entities", caption), file=file, **about)

    async def _say(
        self,
        content: Raw,
        *,
        by: Raw | Sender | None = None,
        file: File | None = None,
        reply_to: Message | None = None,
        thread_id: int | None = None,
        **fields: Any,
    ) -> Message:
        sender = self._sender(by)
        message = self.add(
            sender.user, sender.fields | content | fields, file=file, reply_to=reply_to, thread_id=thread_id
        )
        await self._tell("message", message)
        return message

    async def _tell(self, kind: str, message: Message) -> None:
        if self.reaches_bot(message):
            await self._telegram.updates.add(kind, message.raw, lane=f"chat {self.id}")
        await self._telegram.announce()

    def _sender(self, by: Raw | Sender | None) -> Sender:
        person = by or self._owner
        if person is None:
            raise ValueError("in a group say who it is: by=api.user(…)")
        return person if isinstance(person, Sender) else Sender(person)


def _worded(name: str, names: str, words: str) -> Raw:
    return {name: words} | entities(words, names) if words else {}


def _bytes(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()
