"""Text with tags, as a bot may write it: what is shown of it, and its entities."""

import re
from contextlib import suppress
from typing import NoReturn

from bot.sandbox.entities import utf16_length
from bot.sandbox.errors import BotApiError
from bot.sandbox.files import Raw

# https://core.telegram.org/bots/api#html-style
_TYPES = {
    "a": "text_link", "b": "bold", "blockquote": "blockquote", "code": "code", "del": "strikethrough", "em": "italic",
    "i": "italic", "ins": "underline", "pre": "pre", "s": "strikethrough", "span": "spoiler", "strike": "strikethrough",
    "strong": "bold", "tg-spoiler": "spoiler", "u": "underline",
}  # fmt: skip
_CHARACTERS = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
_REFERENCE = r"&(?:#\d+|#x[\da-fA-F]+|(?:lt|gt|amp|quot)(?![a-zA-Z]));?"
_TOKEN = re.compile(
    rf"(?P<reference>{_REFERENCE})"
    r"""|<(?P<end>/)?(?P<tag>[^\s>]*)(?P<attributes>(?:[^>"']|"[^"]*"|'[^']*')*)(?P<closed>>)?"""
)
_ATTRIBUTE = re.compile(r"""([^\s=]+)(?:\s*=\s*(?:"([^"]*)"|'([^']*)'|([\w.-]+)))?""")
_MENTION = re.compile(r"tg://user\?id=(\d+)")


def parse_html(source: str) -> tuple[str, list[Raw]]:
    """What is shown, and the entities in it. Raises `BotApiError` in the words of the server."""
    reader = _Reader(source)
    position = 0
    for token in _TOKEN.finditer(source):
        reader.shown += source[position : token.start()]
        position = token.end()
        if token["reference"]:
            reader.shown += _character(token["reference"])
        elif token["end"]:
            reader.end(token)
        else:
            reader.begin(token)
    reader.shown += source[position:]
    if reader.open:
        _refuse(f'Can\'t find end tag corresponding to start tag "{reader.open[-1][0]}"')
    return reader.shown, reader.entities


class _Reader:
    def __init__(self, source: str) -> None:
        self.shown = ""
        self.open: list[tuple[str, int, Raw]] = []
        self._source = source
        self._found: list[Raw] = []

    @property
    def entities(self) -> list[Raw]:
        """Outer ones first; of code only `pre` has a language."""
        for entity in self._found:
            if entity["type"] == "code":
                entity.pop("language", None)
        return sorted(self._found, key=lambda entity: (entity["offset"], -entity["length"]))

    def begin(self, token: re.Match[str]) -> None:
        tag = token["tag"].lower()
        at = f"at byte offset {len(self._source[: token.start()].encode())}"
        if token.end("tag") == len(self._source):
            _refuse(f"Unclosed start tag {at}")
        if tag not in _TYPES:
            _refuse(f'Unsupported start tag "{tag}" {at}')
        if not token["closed"]:
            _refuse(f"Unclosed start tag {at}")
        found = _ATTRIBUTE.finditer(token["attributes"])
        attributes = {match[1].lower(): _unescape("".join(match.groups("")[1:])) for match in found}
        if tag == "span" and attributes.get("class") != "tg-spoiler":
            _refuse(f'Tag "span" must have class "tg-spoiler" {at}')
        self.open.append((tag, len(self.shown), _about(tag, attributes)))

    def end(self, token: re.Match[str]) -> None:
        at = f"at byte offset {len(self._source[: token.start()].encode())}"
        if not self.open:
            _refuse(f"Unexpected end tag {at}")
        if not token["closed"] or token["attributes"].strip():
            _refuse(f"Unclosed end tag {at}")
        tag, begin, about = self.open.pop()
        if token["tag"] not in {"", tag}:
            _refuse(f'Unmatched end tag {at}, expected "</{tag}>", found "</{token["tag"]}>"')
        words = self.shown[begin:]
        place = {"offset": utf16_length(self.shown[:begin]), "length": utf16_length(words)}
        if tag == "a":
            about = _link(about["url"] or words, words)
        elif tag == "pre" and self._found and self._found[-1].items() >= {"type": "code", **place}.items():
            about |= {name: value for name, value in self._found.pop().items() if name == "language"}
        within_code = any(outer in {"code", "pre"} for outer, _, _ in self.open)
        if words and (not within_code or "language" in about):
            self._found.append({**about, **place})


def _about(tag: str, attributes: dict[str, str]) -> Raw:
    match tag:
        case "a":
            return {"type": "text_link", "url": attributes.get("href", "")}
        case "code" if attributes.get("class", "").startswith("language-"):
            return {"type": "code", "language": attributes["class"].removeprefix("language-")}
        case "blockquote" if "expandable" in attributes:
            return {"type": "expandable_blockquote"}
    return {"type": _TYPES[tag]}


def _link(url: str, words: str) -> Raw:
    if person := _MENTION.fullmatch(url):
        return {"type": "text_mention", "user": {"id": int(person[1]), "is_bot": False, "first_name": words}}
    return {"type": "text_link", "url": url}


def _unescape(text: str) -> str:
    return re.sub(_REFERENCE, lambda match: _character(match[0]), text)


def _character(reference: str) -> str:
    """The character that `&lt;` or `&#8364;` stands for; what stands for none is left as it is."""
    name = reference.strip("&;")
    if name in _CHARACTERS:
        return _CHARACTERS[name]
    with suppress(ValueError, OverflowError):
        character = chr(int(f"0{name[1:]}", 16) if name.startswith("#x") else int(name[1:]))
        character.encode()
        return reference if character == "\0" else character
    return reference


def _refuse(why: str) -> NoReturn:
    raise BotApiError(400, f"Bad Request: can't parse entities: {why}")
