"""What the bot tells of itself: its commands for each scope and language, its name, and its descriptions."""

import re
from collections.abc import Mapping
from typing import Any

from bot.sandbox.chats import Chat
from bot.sandbox.errors import BotApiError
from bot.sandbox.files import Raw

# https://core.telegram.org/bots/api#setmycommands, #botcommand, #setmyname, #setmydescription, #setmyshortdescription
_MOST_COMMANDS = 100
_LONGEST_COMMAND = 32
_LONGEST_OF_COMMAND = 256
_LONGEST = {"name": 64, "description": 512, "short_description": 120}
_COMMAND = re.compile(r"[a-z0-9_]+")
_LANGUAGE = re.compile(r"(?:[a-z]{2})?")

# https://core.telegram.org/bots/api#botcommandscope
_SCOPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("default", "all_private_chats", "all_group_chats", "all_chat_administrators"), ()),
    **dict.fromkeys(("chat", "chat_administrators"), ("chat_id",)),
    "chat_member": ("chat_id", "user_id"),
}
_Scope = tuple[Any, ...]


class Profile:
    def __init__(self, me: Raw, chats: Mapping[int, Chat]) -> None:
        self._chats = chats
        self._commands: dict[tuple[_Scope, str], list[Raw]] = {}
        self._words = {("name", ""): str(me["first_name"])}

    def commands(self, scope: Raw | None = None, language_code: str = "") -> list[Raw]:
        """What was set for exactly this scope and language."""
        return self._commands.get((self._scope(scope), language_code), [])

    def words(self, name: str, language_code: str = "") -> str:
        """The `name`, `description` or `short_description` in exactly this language."""
        return self._words.get((name, language_code), "")

    def call(self, verb: str, name: str, p: Raw) -> Any:
        """Set, get or delete; raises `BotApiError`."""
        language_code = p.get("language_code") or ""
        if not _LANGUAGE.fullmatch(language_code):
            raise BotApiError(400, "Bad Request: invalid language code specified")
        match verb, name:
            case "get", "commands":
                return self.commands(p.get("scope"), language_code)
            case "get", _:
                return {name: self.words(name, language_code)}
            case _, "commands":
                commands = [_command(command) for command in p.get("commands") or [] if verb == "set"]
                if len(commands) > _MOST_COMMANDS:
                    raise BotApiError(400, "Bad Request: BOT_COMMANDS_TOO_MUCH")
                self._commands[self._scope(p.get("scope")), language_code] = commands
            case _:
                if len(words := p.get(name) or "") > _LONGEST[name]:
                    raise BotApiError(400, f"Bad Request: {name.replace('_', ' ')} is too long")
                self._words[name, language_code] = words
        return True

    def _scope(self, scope: Raw | None) -> _Scope:
        scope = scope or {"type": "default"}
        kind = scope.get("type")
        if kind not in _SCOPES:
            raise BotApiError(400, "Bad Request: can't parse BotCommandScope: Unsupported type specified")
        whose = tuple(scope.get(name, 0) for name in _SCOPES[kind])
        if whose:
            chat = self._chats.get(whose[0])
            if chat is None:
                raise BotApiError(400, "Bad Request: chat not found")
            if chat.is_private and kind != "chat":
                raise BotApiError(400, "Bad Request: can't use specified scope in private chats")
        return kind, *whose


def _command(given: Raw) -> Raw:
    """A BotCommand as it is kept."""
    command = given.get("command", "").strip().removeprefix("/")
    description = given.get("description", "").strip()
    for what, words, longest in (
        ("command", command, _LONGEST_COMMAND),
        ("command description", description, _LONGEST_OF_COMMAND),
    ):
        if not words:
            raise BotApiError(400, f"Bad Request: {what} must be non-empty")
        if len(words) > longest:
            raise BotApiError(400, f"Bad Request: {what} length must not exceed {longest}")
    if not _COMMAND.fullmatch(command):
        raise BotApiError(400, "Bad Request: BOT_COMMAND_INVALID")
    return given | {"command": command, "description": description}
