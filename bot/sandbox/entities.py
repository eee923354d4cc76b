"""Commands and mentions within a text, and its length as Telegram counts it."""

import re

from bot.sandbox.files import Raw

_ENTITY = re.compile(r"(?<!\S)(?:(?P<bot_command>/\w{1,32}(?:@\w+)?)|(?P<mention>@\w{4,32}))(?!\w)", re.ASCII)


def entities(text: str, name: str) -> Raw:
    """The field `name` of a message with such a text, in UTF-16 code units; empty where there would be none.

    https://core.telegram.org/bots/api#messageentity
    """
    found = [
        {
            "type": match.lastgroup,
            "offset": utf16_length(text[: match.start()]),
            "length": utf16_length(match.group()),
        }
        for match in _ENTITY.finditer(text)
    ]
    return {name: found} if found else {}


def commands(text: str) -> list[str]:
    """The commands in a text, with the bot that each is addressed to, if any: "/talk@talking_photo_bot"."""
    return [match["bot_command"] for match in _ENTITY.finditer(text) if match["bot_command"]]


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
