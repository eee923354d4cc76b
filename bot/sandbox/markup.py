"""Text with `parse_mode` HTML, as the Bot API shows it and refuses it: https://core.telegram.org/bots/api#html-style"""

from html import unescape
from html.parser import HTMLParser

from bot.sandbox.entities import utf16_length
from bot.sandbox.errors import BotApiError
from bot.sandbox.files import Raw

_ENTITY_OF = {
    **dict.fromkeys(("b", "strong"), "bold"),
    **dict.fromkeys(("i", "em"), "italic"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "strike", "del"), "strikethrough"),
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "blockquote": "blockquote",
    **dict.fromkeys(("tg-spoiler", "span"), "spoiler"),
}


def shown(text: str, parse_mode: str | None) -> tuple[str, list[Raw]]:
    """The text as it is shown, and its entities. Raises `BotApiError` where it can't be parsed."""
    if not parse_mode:
        return text, []
    if parse_mode.lower() != "html":
        raise BotApiError(400, "Bad Request: unsupported parse_mode")
    parser = _Parser()
    parser.feed(text)
    parser.close()
    if parser.open:
        raise _unparsable(f'Can\'t find end tag corresponding to start tag "{parser.open[-1][0]}"')
    return "".join(parser.pieces), parser.entities


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[str] = []
        self.entities: list[Raw] = []
        self.open: list[tuple[str, int, Raw]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _ENTITY_OF:
            raise _unparsable(f'Unsupported start tag "{tag}" at byte offset {self.getpos()[1]}')
        url = dict(attrs).get("href")
        self.open.append((tag, self._length, {"url": url} if url else {}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            raise _unparsable(f'Unexpected end tag "{tag}" at byte offset {self.getpos()[1]}')
        _, start, more = self.open.pop()
        entity = {"type": _ENTITY_OF[tag], "offset": start, "length": self._length - start, **more}
        self.entities.append(entity)

    def handle_data(self, data: str) -> None:
        if "<" in data:
            raise _unparsable(f'Unsupported start tag "" at byte offset {self.getpos()[1]}')
        self.pieces.append(data)

    def handle_entityref(self, name: str) -> None:
        self.pieces.append(unescape(f"&{name};"))

    def handle_charref(self, name: str) -> None:
        self.pieces.append(unescape(f"&#{name};"))

    @property
    def _length(self) -> int:
        return utf16_length("".join(self.pieces))


def _unparsable(why: str) -> BotApiError:
    return BotApiError(400, f"Bad Request: can't parse entities: {why}")
