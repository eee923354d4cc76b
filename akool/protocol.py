"""AKOOL's HTTP without any I/O: what to send, and what the answer means.

The answer is judged by the `code` in its body, not by its HTTP status: "if the value of the response code is not
equal to 1000, the request is failed or wrong" (manual page, "Response Code Description").
"""

import base64
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Generic, Literal, TypeVar

from akool import reading
from akool.errors import (
    CODES,
    Accepted,
    AkoolError,
    Busy,
    InvalidInput,
    InvalidToken,
    MalformedAnswer,
    NotFound,
    PermissionDenied,
    Refused,
    ServerError,
)
from akool.models import Video, VideoStatus
from akool.reading import Unreadable

_SUCCESS = 1000
_LONGEST_RETRY_AFTER_SECONDS = 3600.0  # so that a mistaken answer parks nothing for good

Result = TypeVar("Result")
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request(Generic[Result]):
    """A request without its authorization, and how to read the answer.

    `name` is that of the function that makes it. `read` gets the JSON of a success and raises `Unreadable` where that
    makes no sense. `charged`: AKOOL takes credits for it, so one must know whether it was accepted.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    read: Callable[[Json], Result] = field(repr=False)
    json: Mapping[str, str] | None = field(default=None, repr=False)  # signed URLs, or the client secret
    params: Mapping[str, str] | None = None
    charged: bool = False

    def failed(self, error: type[AkoolError], detail: str = "", **facts: Any) -> AkoolError:
        """The error of this request's failing in such a way."""
        return error(detail, accepted=None if self.charged else Accepted.NO, **facts)


def create_talking_photo(
    *,
    talking_photo_url: str,
    audio_url: str,
    webhook_url: str | None = None,
    prompt: str | None = None,
    resolution: str | None = None,
) -> Request[Video]:
    """https://docs.akool.com/ai-tools-suite/talking-photo/create-video"""
    optional = {"webhookUrl": webhook_url, "prompt": prompt, "resolution": resolution}
    return Request(
        "create_talking_photo",
        "POST",
        "/api/open/v3/content/video/createbytalkingphoto",
        read=_read_created,
        json={
            "talking_photo_url": talking_photo_url,
            "audio_url": audio_url,
            **{name: value for name, value in optional.items() if value is not None},
        },
        charged=True,
    )


def get_video(video_id: str) -> Request[Video]:
    """https://docs.akool.com/ai-tools-suite/talking-photo/get-result"""
    return Request(
        "get_video",
        "GET",
        "/api/open/v3/content/video/infobymodelid",
        read=lambda answer: Video.from_json(video_id, _data(answer)),
        params={"video_model_id": video_id},
    )


def get_credit() -> Request[float]:
    """The account's balance, in credits (https://docs.akool.com/ai-tools-suite/faceswap/get-credit)."""
    return Request("get_credit", "GET", "/api/open/v3/faceswap/quota/info", read=_read_credit)


def get_token(client_id: str, client_secret: str) -> Request[str]:
    """https://docs.akool.com/authentication/usage"""
    return Request(
        "get_token",
        "POST",
        "/api/open/v3/getToken",
        read=_read_token,
        json={"clientId": client_id, "clientSecret": client_secret},
    )


def decipher(request: Request[Result], status: int, headers: Mapping[str, str], body: bytes) -> Result:
    """The result in an answer; raises the `AkoolError` that it stands for. Names in `headers` are case-insensitive."""
    try:
        answer = reading.parse_object(body)
    except Unreadable:
        answer = {}
    code = reading.optional_integer(answer.get("code"))
    if code != _SUCCESS:
        raise request.failed(
            _kind_of_failure(request, status, code),
            code=code,
            http_status=status,
            msg=reading.optional_text(answer.get("msg")),
            retry_after_seconds=_retry_after_seconds(headers),
        )
    try:
        return request.read(answer)
    except Unreadable as error:
        raise request.failed(MalformedAnswer, str(error), code=code, http_status=status) from None


def _kind_of_failure(request: Request[Any], status: int, code: int | None) -> type[AkoolError]:
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        return Busy  # said at the door: nothing behind it has seen the request
    if code is not None and code in CODES:
        kind = CODES[code]
        return InvalidInput if kind is NotFound and request.charged else kind
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerError
    if status == HTTPStatus.UNAUTHORIZED:
        return InvalidToken
    if status == HTTPStatus.FORBIDDEN:
        return PermissionDenied
    return MalformedAnswer if code is None and status < HTTPStatus.MULTIPLE_CHOICES else Refused


def _retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in either form (RFC 9110, 10.2.3); a date is compared with the answer's own."""
    value = headers.get("retry-after", "")
    try:
        if re.fullmatch(r"[0-9]{1,9}", value):
            seconds = float(value)
        else:
            seconds = (parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])).total_seconds()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def _data(answer: Json) -> Json:
    data = answer.get("data")
    if not isinstance(data, dict):
        raise Unreadable("`data` is missing")
    return data


def _read_created(answer: Json) -> Video:
    """Only the `_id` counts, and it is paid for: nothing else in the answer can spoil it."""
    return Video(id=reading.identifier(_data(answer).get("_id")), status=VideoStatus.QUEUEING)


def _read_credit(answer: Json) -> float:
    credit = reading.optional_number(_data(answer).get("credit"))
    if credit is None:
        raise Unreadable("`credit` is not a number")
    return credit


def _read_token(answer: Json) -> str:
    """`token` stands beside `code`, not in `data`. It becomes a header, so it has to fit into one."""
    token = answer.get("token")
    if not isinstance(token, str) or not is_header_value(token):
        raise Unreadable("`token` is missing")
    return token


def is_header_value(text: str) -> bool:
    """Whether `text` is one word that an HTTP header can carry."""
    return re.fullmatch(r"[!-~]+", text) is not None


def expires_at(token: str) -> float:
    """When a Bearer token ends, in seconds since the epoch: the `exp` of a JWT, infinity for any other token.

    The signature is AKOOL's to check; this only tells when to ask for the next one.
    """
    try:
        _header, claims, _signature = token.split(".")
        payload = base64.b64decode(claims + "=" * (-len(claims) % 4), altchars=b"-_", validate=True)
        expiry = reading.optional_number(reading.parse_object(payload).get("exp"))
    except ValueError:
        return math.inf
    return math.inf if expiry is None else expiry
