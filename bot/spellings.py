"""The ways in which something may be spelt in URLs, JSON, tracebacks and headers."""

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

_SHORTEST_IN_BASE64 = 8  # whatever is shorter may be found in any text


def any_spelling(secret: str) -> str:
    """A regular expression for `secret`, however each of its characters is quoted, or the whole is in base64."""
    quoted = "".join(f"(?:{'|'.join(_characters(character))})" for character in secret)
    return "|".join([quoted, *(re.escape(form) for form in sorted(_in_base64(secret), key=len, reverse=True))])


def _characters(character: str) -> list[str]:
    in_json, in_repr = json.dumps(character)[1:-1], repr(character)[1:-1]
    in_url = quote(character, safe="", errors="replace")
    spellings = {character, in_json, in_repr, in_url, in_url.lower(), quote_plus(character, errors="replace")}
    return sorted(map(re.escape, spellings), key=len, reverse=True)


def _in_base64(secret: str) -> Iterator[str]:
    """As a part of something longer, at each of the three places in a group; without what its neighbours share."""
    data = secret.encode(errors="replace")
    if len(data) < _SHORTEST_IN_BASE64:
        return
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data).decode()
        shared_before = (0, 2, 3)[before]
        shared_after = (0, 3, 2)[(before + len(data)) % 3]
        form = whole[shared_before : len(whole) - shared_after]
        yield from {form, form.replace("+", "-").replace("/", "_")}
