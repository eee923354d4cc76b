"""Reads a Bot API request's parameters, in each of the ways in which they may come."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from email.parser import HeaderParser
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from bot.sandbox.errors import BotApiError

_INTEGERS = frozenset({
    "chat_id", "duration", "height", "length", "limit", "message_id", "message_thread_id", "offset",
    "reply_to_message_id", "timeout", "user_id", "width",
})  # fmt: skip
_FLAGS = frozenset({"allow_sending_without_reply", "drop_pending_updates", "show_alert", "supports_streaming"})
_OBJECTS = frozenset({
    "allowed_updates", "caption_entities", "commands", "entities", "media", "message_ids", "reaction", "reply_markup",
    "reply_parameters", "scope",
})  # fmt: skip


@dataclass(frozen=True)
class Upload:
    """A file as it came in a multipart form."""

    name: str
    mime_type: str
    data: bytes = field(repr=False)


async def read_parameters(request: Request, *, most_bytes: int) -> dict[str, Any]:
    """The parameters, integers, flags and objects decoded, and uploads by the name of their part.

    https://core.telegram.org/bots/api#making-requests: query, urlencoded, JSON and multipart are alike. Raises
    `BotApiError`.
    """
    body = await _read_body(request, most_bytes)
    content_type, _, _ = request.headers.get("content-type", "").partition(";")
    match content_type.strip().lower():
        case "application/json":
            sent = _read_json(body)
        case "multipart/form-data":
            sent = _read_multipart(request.headers["content-type"], body)
        case _:
            sent = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    return {name: _decode(name, value) for name, value in {**request.query_params, **sent}.items()}


async def _read_body(request: Request, most_bytes: int) -> bytes:
    """The whole body. One that is too large is read to its end all the same, or the client would miss the answer."""
    parts: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= most_bytes:
            parts.append(chunk)
    if size > most_bytes:
        raise BotApiError(413, "Request Entity Too Large")
    return b"".join(parts)


def _read_json(body: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(body or b"{}")
        if isinstance(found, dict):
            return found
    raise BotApiError(400, "Bad Request: can't parse request JSON object")


def _read_multipart(content_type: str, body: bytes) -> dict[str, Any]:
    boundary = _headers(f"Content-Type: {content_type}").get_param("boundary")
    if not isinstance(boundary, str):
        raise BotApiError(400, "Bad Request: can't find the boundary of the form")
    found: dict[str, Any] = {}
    for part in body.split(b"--" + boundary.encode())[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        headers = _headers(head.decode(errors="replace"))
        name = str(headers.get_param("name", header="content-disposition"))
        file_name = headers.get_filename()
        data = data.removesuffix(b"\r\n")
        found[name] = (
            data.decode(errors="replace") if file_name is None else Upload(file_name, headers.get_content_type(), data)
        )
    return found


def _headers(text: str) -> Any:
    return HeaderParser().parsestr(text)


def _decode(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name in _INTEGERS:
        with suppress(ValueError):
            return int(value)
    elif name in _FLAGS:
        return value.lower() in {"true", "1", "yes"}
    elif name in _OBJECTS:
        try:
            return json.loads(value) if value else None
        except ValueError:
            raise BotApiError(400, f"Bad Request: can't parse {name.replace('_', ' ')} JSON object") from None
    return value
