"""A typed asyncio client of AKOOL's Talking Photo API (https://docs.akool.com/ai-tools-suite/talking-photo)."""

from akool.client import ApiKey, Client, ClientCredentials, open_client
from akool.errors import (
    Accepted,
    AkoolError,
    AnswerLost,
    Busy,
    CreateFailed,
    Fault,
    InvalidCallback,
    InvalidInput,
    InvalidToken,
    MalformedAnswer,
    NotFound,
    NotSent,
    OtherProduct,
    OutOfCredit,
    PermissionDenied,
    Refused,
    ServerError,
)
from akool.models import Callback, Video, VideoStatus
from akool.webhook import open_callback, seal_callback

__all__ = [
    "Accepted",
    "AkoolError",
    "AnswerLost",
    "ApiKey",
    "Busy",
    "Callback",
    "Client",
    "ClientCredentials",
    "CreateFailed",
    "Fault",
    "InvalidCallback",
    "InvalidInput",
    "InvalidToken",
    "MalformedAnswer",
    "NotFound",
    "NotSent",
    "OtherProduct",
    "OutOfCredit",
    "PermissionDenied",
    "Refused",
    "ServerError",
    "Video",
    "VideoStatus",
    "open_callback",
    "open_client",
    "seal_callback",
]
