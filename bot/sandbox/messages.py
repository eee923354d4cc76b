"""A message of the local Telegram, and whom it may be from who doesn't speak in their own name."""

from dataclasses import dataclass, field

from bot.sandbox.files import File, Raw


@dataclass(eq=False)
class Message:
    """A message as the Bot API shows it (`raw`), and the file that it carries, if any.

    `keyboard` is what came with it and is not shown: ForceReply, ReplyKeyboardRemove or ReplyKeyboardMarkup.
    """

    raw: Raw
    file: File | None = None
    keyboard: Raw | None = None

    @property
    def id(self) -> int:
        return int(self.raw["message_id"])

    @property
    def text(self) -> str:
        """Its text or caption."""
        return str(self.raw.get("text") or self.raw.get("caption") or "")

    @property
    def is_from_bot(self) -> bool:
        """Our bot's; an anonymous administrator's or a channel's comes from a bot of Telegram's own."""
        return bool(self.raw["from"]["is_bot"]) and "sender_chat" not in self.raw

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

    @property
    def asks(self) -> Raw | None:
        """The ForceReply that it came with: `{"force_reply": True, "selective": …, "input_field_placeholder": …}`."""
        return self.keyboard if self.keyboard and self.keyboard.get("force_reply") else None


@dataclass(frozen=True)
class Sender:
    """Who stands under a message: the `user` in its `from`, and further `fields` such as `sender_chat`.

    https://core.telegram.org/bots/api#message: "for backward compatibility, if the message was sent on behalf of a
    chat, the field from contains a fake sender user in non-channel chats".
    """

    user: Raw
    fields: Raw = field(default_factory=dict)


def anonymous_admin(group: Raw) -> Sender:
    user = {"id": 1087968824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
    return Sender(user, {"sender_chat": group})


def channel(chat_id: int, title: str) -> Sender:
    """Somebody who writes in the name of a channel."""
    user = {"id": 136817688, "is_bot": True, "first_name": "Channel", "username": "Channel_Bot"}
    return Sender(user, {"sender_chat": {"id": chat_id, "type": "channel", "title": title}})


def linked_channel(chat_id: int, title: str, *, now: int) -> Sender:
    """The channel whose discussion group it is, and whose posts are forwarded there by Telegram."""
    chat = {"id": chat_id, "type": "channel", "title": title}
    origin = {"type": "channel", "chat": chat, "message_id": 1, "date": now}
    user = {"id": 777000, "is_bot": False, "first_name": "Telegram"}
    return Sender(user, {"sender_chat": chat, "is_automatic_forward": True, "forward_origin": origin})
