"""What the value of a setting must look like, and the sentence for one that does not."""

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from bot.addresses import LOOPBACK, Network, networks


def _root_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("must be an http or https URL without a query")
    return value.rstrip("/")


def _public_url(value: str) -> str:
    parts = urlsplit(_root_url(value))
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise ValueError("must begin with https:// (plain http is for a loopback host only)")
    return value.rstrip("/")


def _bot_token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"\d+:[\w-]+", value.get_secret_value()):
        raise ValueError("must look like 123456:ABC-DEF, as @BotFather gave it")
    return value


def _api_key(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("must be one word of ASCII characters")
    return value


def _dsn(value: SecretStr) -> SecretStr:
    parts = urlsplit(value.get_secret_value())
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.username or len(parts.path) <= 1:
        raise ValueError("must look like https://key@host/1, as Sentry gave it")
    return value


def _ids(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if not all(re.fullmatch(r"\*|-?\d+", part) for part in parts):
        raise ValueError("must be numeric ids with commas between them, or *")
    return frozenset(part if part == "*" else int(part) for part in parts)


def _delivery(value: str) -> str:
    if value in ("presign", "proxy"):
        return value
    if "://" not in value:
        raise ValueError("must be presign, proxy, or the https URL under which the bucket is public")
    return _public_url(value)


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return networks(part.strip() for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be networks like 10.0.0.0/8, or addresses, with commas between them") from None


def _capitals(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


RootUrl = Annotated[str, AfterValidator(_root_url)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
Ids = Annotated[frozenset[int | Literal["*"]], NoDecode, BeforeValidator(_ids)]
Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]
ApiKey = Annotated[SecretStr, AfterValidator(_api_key)]
BotToken = Annotated[SecretStr, AfterValidator(_bot_token)]
Dsn = Annotated[SecretStr, AfterValidator(_dsn)]
MediaDelivery = Annotated[str, AfterValidator(_delivery)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(_capitals)]
