"""What Telegram shows of the bot: its commands and descriptions, in every language; set only when they have changed.

Commands have a scope (https://core.telegram.org/bots/api#botcommandscope): private chats, groups, and the private chats
of the operators, who see theirs too.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import structlog
from telegram import (
    BotCommand,
    BotCommandScope,
    BotCommandScopeAllGroupChats,
    BotCommandScopeAllPrivateChats,
    BotCommandScopeChat,
)
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bot import texts
from bot.clock import Clock
from bot.patience import HOUR_MS, MINUTE_MS, SECOND_MS, backoff_ms
from bot.texts import LANGUAGES, in_language
from storage.database import DATABASE_ERRORS
from storage.notices import FOR_GOOD, Notices

log = structlog.get_logger()

_AFTER_SECONDS = 2  # whoever is waiting comes first
_ENGLISH = LANGUAGES[0]


class Profile:
    def __init__(self, bot: ExtBot[Any], notices: Notices, clock: Clock, admins: Sequence[int]) -> None:
        self._bot = bot
        self._notices = notices
        self._clock = clock
        self._admins = admins

    async def run(self) -> None:
        """Set what has changed; tries again until Telegram has taken it."""
        pause_seconds = float(_AFTER_SECONDS)
        attempts = 0
        while True:
            await self._clock.wait(asyncio.Event(), seconds=pause_seconds)
            try:
                await self._set()
            except (TelegramError, *DATABASE_ERRORS) as error:
                log.warning("the bot's profile can't be set; trying again", error=type(error).__name__)
                pause_seconds = backoff_ms(attempts, first_ms=MINUTE_MS, most_ms=HOUR_MS) / SECOND_MS
                attempts += 1
            else:
                return

    async def _set(self) -> None:
        """One mark for each call that was made, so that a start that is cut short is taken up where it ended."""
        for method, about in self._calls():
            described = json.dumps([method, about], sort_keys=True, default=lambda it: it.to_dict())
            mark = f"{FOR_GOOD}{sha256(f'{self._bot.id} {described}'.encode()).hexdigest()}"
            if not await self._notices.has(mark):
                await getattr(self._bot, method)(**about)
                await self._notices.is_new(mark, for_ms=0)

    def _calls(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for language in LANGUAGES:
            words = in_language(language)
            # What stands without a language code is shown to all whose language has nothing of its own.
            code = {} if language == _ENGLISH else {"language_code": language.partition("_")[0]}
            for scope, names in self._scopes():
                commands = [BotCommand(name, words.plain(about)) for name, about in names.items()]
                yield "set_my_commands", {"commands": commands, "scope": scope, **code}
            yield "set_my_description", {"description": words.plain(texts.DESCRIPTION), **code}
            yield "set_my_short_description", {"short_description": words.plain(texts.SHORT_DESCRIPTION), **code}

    def _scopes(self) -> Iterator[tuple[BotCommandScope, Mapping[str, str]]]:
        yield BotCommandScopeAllPrivateChats(), texts.COMMANDS
        yield BotCommandScopeAllGroupChats(), {name: texts.COMMANDS[name] for name in texts.GROUP_COMMANDS}
        for admin in self._admins:
            yield BotCommandScopeChat(admin), {**texts.COMMANDS, **texts.ADMIN_COMMANDS}
