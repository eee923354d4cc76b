"""Where an update goes: who sent it, whether they are let in, and what of it is meant for us.

A handler reads, writes rows, and answers. Whatever takes long is done by the loops. In a group nothing is heard but
commands and replies to what we said, which is also all that Telegram's privacy mode lets through.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from telegram import Bot, Message, Update
from telegram.ext import CallbackContext, TypeHandler

from bot import texts
from bot.admins import Admins
from bot.answers import answer
from bot.asking import Asking, half_of
from bot.buttons import Buttons
from bot.callers import Caller, Callers
from bot.commands import Commands
from bot.groups import Groups
from bot.patience import HOUR_MS
from bot.telegram import TelegramApplication
from storage.notices import Notices

# Captions carry commands too, and python-telegram-bot's CommandHandler does not see them.
_COMMAND = re.compile(r"/(?P<name>[a-z0-9_]{1,32})(?:@(?P<bot>\w+))?(?=\s|$)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Handlers:
    bot: Bot
    callers: Callers
    notices: Notices
    groups: Groups
    asking: Asking
    commands: Commands
    admins: Admins
    buttons: Buttons

    def register(self, application: TelegramApplication) -> None:
        application.add_handler(TypeHandler(Update, self.handle))

    async def handle(self, update: Update, _context: CallbackContext[Any, Any, Any, Any]) -> None:
        await self.groups.follow(update)
        caller = await self.callers.of(update)
        if caller is None:
            return
        if update.my_chat_member is not None:
            await self.groups.greet(caller, update.my_chat_member)
        elif update.callback_query is not None:
            await self.buttons.press(caller, update.callback_query)
        elif update.message is not None:
            await self._hear(caller, update.message, update.update_id)
        elif update.edited_message is not None and caller.is_allowed:
            await self._hear_edited(caller, update.edited_message, update.update_id)

    async def _hear(self, caller: Caller, message: Message, update_id: int) -> None:
        command = self._command_in(message)
        if not caller.is_allowed:
            if command in self._open_to_all or not caller.in_group:
                await self._turn_away(caller, message)
        elif command in self._open_to_all:
            await self._open_to_all[command](caller, message, update_id)
        elif command is not None and command in self.admins.commands and caller.is_admin:
            await self.admins.obey(command, caller, message)
        elif half_of(message) is not None and self._is_meant(caller, message):
            await self.asking.take_half(caller, message, update_id)
        elif self._is_meant(caller, message):
            await self._answer_words(caller, message, update_id)

    async def _answer_words(self, caller: Caller, message: Message, update_id: int) -> None:
        if caller.in_group:
            await self.asking.ask_anew(caller, message, update_id)
        elif message.text or message.effective_attachment:  # not what Telegram itself reports, as pins
            await self.asking.explain(caller, message)

    async def _hear_edited(self, caller: Caller, message: Message, update_id: int) -> None:
        """What is put right afterwards works; no other command is done once more."""
        if self._command_in(message) == "talk":
            await self.asking.talk(caller, message, update_id)
        elif half_of(message) is not None and self._is_meant(caller, message):
            await self.asking.take_edited(caller, message, update_id)

    @property
    def _open_to_all(self) -> Mapping[str | None, Callable[[Caller, Message, int], Awaitable[None]]]:
        return {
            "talk": self.asking.talk,
            "again": self.asking.again,
            "start": self.commands.start,
            "help": self.commands.help,
            "status": self.commands.status,
            "cancel": self.commands.cancel,
            "history": self.commands.history,
            "settings": self.commands.settings_of,
            "forget": self.commands.forget,
        }

    def _command_in(self, message: Message) -> str | None:
        """The command that a text or a caption begins with, unless it is for another bot."""
        match = _COMMAND.match(message.text or message.caption or "")
        if match is None or (match["bot"] or self.bot.username).lower() != self.bot.username.lower():
            return None
        return match["name"].lower()

    def _is_meant(self, caller: Caller, message: Message) -> bool:
        """In private all is for us; in a group what replies to our words. A reply to a video is talk about it."""
        if not caller.in_group:
            return True
        replied = message.reply_to_message
        return (
            replied is not None
            and replied.from_user is not None
            and replied.from_user.id == self.bot.id
            and replied.text is not None
        )

    async def _turn_away(self, caller: Caller, message: Message) -> None:
        """Tell whoever is not let in what to do about it, at most once an hour."""
        if await self.notices.is_new(f"stranger:{caller.id}:{message.chat_id}", for_ms=HOUR_MS):
            chat_id = message.chat_id if caller.in_group else None
            await answer(self.bot, message, texts.stranger(caller.words, caller.id, chat_id=chat_id))
