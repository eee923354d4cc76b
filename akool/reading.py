"""Reading what comes from outside: whatever it is, each function answers or raises `Unreadable`."""

import json
import re
from typing import Any, NoReturn

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_LONGEST_TEXT = 300
_LARGEST_NUMBER = 10**12


class Unreadable(ValueError):
    """What came makes no sense; the message quotes nothing of it."""


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`: UTF-8, without NaN and infinities."""
    try:
        value = json.loads(body.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Unreadable("not JSON") from None
    if not isinstance(value, dict):
        raise Unreadable("not a JSON object")
    return value


def _refuse(constant: str) -> NoReturn:
    raise Unreadable(f"JSON has no {constant}")


def identifier(value: object) -> str:
    """An `_id`. A MongoDB ObjectId today; whatever it becomes, it is safe in an URL, a row and a log."""
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise Unreadable("`_id` is missing")
    return value


def optional_url(value: object) -> str | None:
    """An URL, not yet trusted; AKOOL writes the empty string where there is none."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not value.isprintable():
        raise Unreadable("the URL is not plain text")
    return value


def optional_integer(value: object) -> int | None:
    """A whole number of reasonable size, else None."""
    return value if type(value) is int and abs(value) < _LARGEST_NUMBER else None


def optional_number(value: object) -> float | None:
    """A finite number of reasonable size, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_LARGEST_NUMBER < value < _LARGEST_NUMBER else None


def optional_text(value: object) -> str | None:
    """One short line that may be logged, else None."""
    if not isinstance(value, str):
        return None
    return "".join(c if c.isprintable() else " " for c in value[:_LONGEST_TEXT]).strip() or None
