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
from telegram.error import BadRequest, TelegramError
from telegram.ext import ExtBot

from bot import texts
from bot.clock import Clock
from bot.patience import HOUR_MS, MINUTE_MS, SECOND_MS, backoff_ms
from bot.texts import LANGUAGES, in_language
from storage.engine import DATABASE_ERRORS
from storage.notices import Notices
from storage.replicas import Held

log = structlog.get_logger()

_AFTER_SECONDS = 2  # whoever is waiting comes first
_ENGLISH = LANGUAGES[0]


class Profile:
    def __init__(self, bot: ExtBot[Any], notices: Notices, duty: Held, clock: Clock, admins: Sequence[int]) -> None:
        self._bot = bot
        self._notices = notices
        self._duty = duty
        self._clock = clock
        self._admins = admins

    async def run(self) -> None:
        """Set what has changed, or see that another replica has; tries again until Telegram has taken it."""
        pause_seconds = float(_AFTER_SECONDS)
        attempts = 0
        while True:
            await self._clock.wait(asyncio.Event(), seconds=pause_seconds)
            try:
                async with self._duty.for_now() as is_ours:
                    if is_ours:
                        await self._set()
                        return
            except (TelegramError, *DATABASE_ERRORS) as error:
                log.warning("the bot's profile can't be set; trying again", error=type(error).__name__)
                pause_seconds = backoff_ms(attempts, first_ms=MINUTE_MS, most_ms=HOUR_MS) / SECOND_MS
                attempts += 1

    async def _set(self) -> None:
        """Each call is noted when it is made, so that a start that is cut short is taken up where it ended."""
        for subject, method, about in self._calls():
            described = json.dumps(about, sort_keys=True, default=lambda it: it.to_dict())
            digest = sha256(described.encode()).hexdigest()
            if await self._notices.holds(subject, digest):
                continue
            try:
                await getattr(self._bot, method)(**about)
            except BadRequest as error:  # an admin who has never written to the bot
                log.info("a part of the bot's profile was refused", subject=subject, error=error.message)
            else:
                await self._notices.keep(subject, digest)

    def _calls(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """What each call is about, its method, and what it is given."""
        for language in LANGUAGES:
            words = in_language(language)
            # What stands without a language code is shown to all whose language has nothing of its own.
            code = {} if language == _ENGLISH else {"language_code": language.partition("_")[0]}
            about = f"{self._bot.id} {language}"
            for name, scope, commands in self._scopes():
                menu = [BotCommand(command, words.plain(does)) for command, does in commands.items()]
                yield f"{about} {name}", "set_my_commands", {"commands": menu, "scope": scope, **code}
            yield f"{about} description", "set_my_description", {"description": words.plain(texts.DESCRIPTION), **code}
            short = {"short_description": words.plain(texts.SHORT_DESCRIPTION), **code}
            yield f"{about} short", "set_my_short_description", short

    def _scopes(self) -> Iterator[tuple[str, BotCommandScope, Mapping[str, str]]]:
        yield "private", BotCommandScopeAllPrivateChats(), texts.COMMANDS
        yield "groups", BotCommandScopeAllGroupChats(), {name: texts.COMMANDS[name] for name in texts.GROUP_COMMANDS}
        for admin in self._admins:
            yield str(admin), BotCommandScopeChat(admin), {**texts.COMMANDS, **texts.ADMIN_COMMANDS}
