"""What stands in a chat of the local Telegram, who is in it, and what of it reaches the bot."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from bot.sandbox.entities import commands
from bot.sandbox.files import File, Files, Raw
from bot.sandbox.members import PERMISSIONS, Status, chat_member
from bot.sandbox.messages import Message
from bot.sandbox.stand_in import Call
from bot.sandbox.updates import Updates

# https://core.telegram.org/bots/api#message
_SERVICE = frozenset({
    "new_chat_members", "left_chat_member", "new_chat_title", "new_chat_photo", "delete_chat_photo",
    "group_chat_created", "supergroup_chat_created", "migrate_to_chat_id", "migrate_from_chat_id", "pinned_message",
    "forum_topic_created", "forum_topic_edited", "forum_topic_closed", "forum_topic_reopened", "boost_added",
    "message_auto_delete_timer_changed", "video_chat_started", "video_chat_ended",
})  # fmt: skip


class Telegram(Protocol):
    """What a chat needs of the server that it lives in."""

    me: Raw
    files: Files
    updates: Updates
    calls: list[Call]
    people: dict[int, Raw]

    @property
    def now_ms(self) -> int: ...

    async def announce(self) -> None: ...

    async def wait_until(self, look: Callable[[], Any], *, timeout_seconds: float) -> Any: ...


class Room:
    """`messages` is what stands in the chat now, in order, the bot's messages and people's.

    In a group `permissions` (ChatPermissions) says what members may do, `creator` and `admins` are user ids, and
    `bot_member` is the bot's own ChatMember.
    """

    def __init__(
        self,
        telegram: Telegram,
        raw: Raw,
        *,
        owner: Raw | None = None,
        topics: Sequence[int] = (),
        bot: Status = "member",
    ) -> None:
        self.raw = raw
        self.messages: list[Message] = []
        self.topics = frozenset(topics)
        self.permissions: Raw = dict.fromkeys(PERMISSIONS, True)
        self.creator: int | None = None
        self.admins: set[int] = set()
        self.bot_member = chat_member(telegram.me, bot, self.permissions)
        self._telegram = telegram
        self._owner = owner
        self._last_message_id = 0

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
        self,
        sender: Raw,
        content: Raw,
        *,
        file: File | None,
        reply_to: Message | None,
        thread_id: int | None,
        keyboard: Raw | None = None,
    ) -> Message:
        """Put a message at the end, and say nothing of it to the bot. A reply to what is gone is no reply."""
        self._last_message_id += 1
        reply_to = reply_to if reply_to in self.messages else None
        thread_id = thread_id or self._thread_of_reply(reply_to)
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
        message = Message(raw | content, file, keyboard)
        self.messages.append(message)
        return message

    def _thread_of_reply(self, reply_to: Message | None) -> int | None:
        """The topic of what is replied to; outside topics the chain of replies, which a bot can't write into."""
        if reply_to is None or self.raw["type"] != "supergroup":
            return None
        return int(reply_to.raw.get("message_thread_id", reply_to.id))

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

    # --- who is in it ---

    def member(self, user_id: object) -> Raw | None:
        """Somebody's ChatMember; None for nobody known."""
        if user_id == self._telegram.me["id"]:
            return self.bot_member
        senders = {message.raw["from"]["id"]: message.raw["from"] for message in self.messages}
        user = (senders | self._telegram.people).get(user_id)
        if user is None:
            return None
        return chat_member(user, self._status(user["id"]), self.permissions)

    def _status(self, user_id: int) -> Status:
        if user_id == self.creator:
            return "creator"
        return "administrator" if user_id in self.admins else "member"

    def bot_may(self, right: str) -> bool:
        """Whether the bot has a right, named as in ChatPermissions or ChatMemberAdministrator."""
        if self.is_private:
            return True
        if self.bot_member["status"] == "administrator":
            return bool(self.bot_member.get(right, right in PERMISSIONS))
        return bool(self.permissions.get(right) and self.bot_member.get(right, True))

    @property
    def bans_bot(self) -> str | None:
        """Why the bot is not here any more, in the server's words."""
        match self.bot_member["status"]:
            case "kicked" if self.is_private:
                return "Forbidden: bot was blocked by the user"
            case "kicked":
                return f"Forbidden: bot was kicked from the {self.raw['type']} chat"
            case "restricted" if self.bot_member["is_member"]:
                return None
            case "left" | "restricted":
                return f"Forbidden: bot is not a member of the {self.raw['type']} chat"
        return None

    def reaches_bot(self, message: Message) -> bool:
        """In a group with privacy mode on: commands that may be the bot's, replies to it, and service messages.

        https://core.telegram.org/bots/features#privacy-mode; to administrators it does not apply.
        """
        me = self._telegram.me
        if self.bans_bot:
            return False
        if self.is_private or me["can_read_all_group_messages"] or self.bot_member["status"] == "administrator":
            return True
        if message.raw.get("reply_to_message", {}).get("from", {}).get("id") == me["id"]:
            return True
        if not _SERVICE.isdisjoint(message.raw):
            return True
        addressees = {command.partition("@")[2].lower() for command in commands(message.text)}
        return not addressees.isdisjoint({"", me["username"].lower()})
