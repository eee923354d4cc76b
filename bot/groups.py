"""What becomes of a chat: we are added, removed, or given other rights; a group moves; somebody is back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from telegram import Bot, Chat, ChatMember, ChatMemberRestricted, ChatMemberUpdated, ChatPermissions, Update
from telegram.constants import ParseMode
from telegram.error import BadRequest, Forbidden, InvalidToken, TelegramError

from bot import texts
from bot.callers import Caller
from bot.texts import Say
from storage.jobs import Jobs

log = structlog.get_logger()

_OUTSIDE = (ChatMember.BANNED, ChatMember.LEFT)


@dataclass(frozen=True)
class Groups:
    bot: Bot
    jobs: Jobs
    ring: Callable[[], None]

    async def follow(self, update: Update) -> None:
        """Whoever it is that speaks: what waits for that chat, since it had blocked us, is brought to it now.

        A group that became a supergroup has another id; either of the two chats may tell.
        """
        message, change, chat = update.message, update.my_chat_member, update.effective_chat
        is_news = True
        if message is not None and message.migrate_to_chat_id is not None:
            await self.jobs.move_chat(message.chat_id, message.migrate_to_chat_id)
        elif message is not None and message.migrate_from_chat_id is not None:
            await self.jobs.move_chat(message.migrate_from_chat_id, message.chat_id)
        elif change is not None and change.new_chat_member.status in _OUTSIDE:
            is_news = False
        else:
            is_news = chat is not None and await self.jobs.wake_chat(chat.id)
        if is_news:
            self.ring()

    async def greet(self, caller: Caller, change: ChatMemberUpdated) -> None:
        """One short greeting where we were added to a group, with what is missing there, if anything is."""
        was_outside = change.old_chat_member.status in _OUTSIDE
        is_inside = change.new_chat_member.status not in _OUTSIDE
        if change.chat.type not in (Chat.GROUP, Chat.SUPERGROUP) or not (was_outside and is_inside):
            return
        rights = await self._rights(change)
        words = caller.words
        if not getattr(rights, "can_send_messages", True):
            await self._say(change.from_user.id, Say(words(texts.GROUP_LACKS_MESSAGES, group=change.chat.title or "")))
            return
        lines = [words(texts.WELCOME_GROUP)]
        if not caller.is_allowed:
            lines = [texts.stranger(words, caller.id, chat_id=change.chat.id).text]
        elif not getattr(rights, "can_send_videos", True):
            lines.append(words(texts.GROUP_LACKS_VIDEOS))
        await self._say(change.chat.id, Say("\n\n".join(lines)))

    async def _rights(self, change: ChatMemberUpdated) -> ChatMemberRestricted | ChatPermissions | None:
        """What limits us there: our own restrictions, or what the group lets its members do. None: nothing known."""
        member = change.new_chat_member
        if isinstance(member, ChatMemberRestricted):
            return member
        if member.status == ChatMember.ADMINISTRATOR:
            return None
        try:
            return (await self.bot.get_chat(change.chat.id)).permissions
        except TelegramError as error:
            log.info("a group's permissions are not known", chat=change.chat.id, error=type(error).__name__)
            return None

    async def _say(self, chat_id: int, say: Say) -> None:
        try:
            await self.bot.send_message(chat_id, say.text, parse_mode=ParseMode.HTML)
        except (BadRequest, Forbidden) as error:
            log.info("a greeting can't be said", chat=chat_id, error=type(error).__name__)

    async def is_run_by(self, chat_id: int, user_id: int) -> bool:
        """Whether a person is among the group's admins."""
        try:
            member: Any = await self.bot.get_chat_member(chat_id, user_id)
        except (BadRequest, Forbidden, InvalidToken):  # nobody there, or a server that does not know the method
            return False
        return member.status in (ChatMember.OWNER, ChatMember.ADMINISTRATOR)
