"""The settings: from the environment or a `.env` file, every secret also as `NAME_FILE` (a path to read).

Reading them (`Settings()`) reports every problem at once, in plain sentences that never repeat a value.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from dotenv import dotenv_values
from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from bot.addresses import LOOPBACK, NEARBY, networks
from bot.sizes import LOCAL, TELEGRAMS_OWN, Sizes
from bot.values import ApiKey, BotToken, Dsn, Ids, LogLevel, MediaDelivery, Networks, PublicUrl, RootUrl
from storage.quotas import Limits

_ENV_FILE = ".env"
_ALIKE = 0.88  # of 1, as difflib measures it
_TELEGRAM = "https://api.telegram.org"
_SECRETS_OF_AWS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_UNREADABLE = "unreadable"  # carries the troubles of `_SecretFiles` to the report


def export_aws_variables() -> None:
    """Put the `AWS_*` variables of `.env` into the environment, the only place where boto3 looks for them."""
    for name, value in dotenv_values(_ENV_FILE).items():
        if name.startswith("AWS_") and value and not os.environ.get(name):
            os.environ[name] = value


def mistyped_names() -> dict[str, str]:
    """What is given in `.env` or the environment and looks like a setting's name, but is none; and which."""
    fields = Settings.model_fields.items()
    known = {name.upper() for name, _ in fields} | {
        f"{name.upper()}_FILE" for name, field in fields if _is_secret(field)
    }
    unknown = ({*dotenv_values(_ENV_FILE)} | {*os.environ}) - known
    alike = {name: get_close_matches(name.upper(), known, n=1, cutoff=_ALIKE) for name in sorted(unknown)}
    return {name: found[0] for name, found in alike.items() if found}


class SettingsError(Exception):
    """What is wrong with the settings: one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=_ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    telegram_bot_token: BotToken
    telegram_api_url: RootUrl = _TELEGRAM
    telegram_updates: Literal["polling", "webhook"] = "polling"
    telegram_local_files: bool = False

    akool_api_key: ApiKey | None = None
    akool_client_id: SecretStr | None = None
    akool_client_secret: SecretStr | None = None
    akool_api_url: RootUrl = "https://openapi.akool.com"
    akool_resolution: Literal["720", "1080"] | None = None
    akool_prompt: str | None = None
    akool_poll_seconds: float = Field(default=10, gt=0, le=3600)
    akool_render_timeout_seconds: float = Field(default=3600, gt=0, le=7 * 24 * 3600)
    akool_max_concurrent: int = Field(default=8, ge=1)

    public_url: PublicUrl | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    trusted_proxies: Networks = networks(NEARBY)

    data_dir: Path = Path("data")
    database_url: SecretStr = SecretStr("")
    media_store: str = ""
    media_delivery: MediaDelivery = "presign"

    allowed_users: Ids = frozenset()
    allowed_chats: Ids = frozenset()
    admin_users: Ids = frozenset()
    daily_limit: int = Field(default=20, ge=0)
    daily_limit_chat: int = Field(default=50, ge=0)
    spend_limit_day: int | None = Field(default=None, ge=1)
    max_pending_per_user: int = Field(default=3, ge=0)
    max_voice_seconds: float = Field(default=120, gt=0, le=3600)
    retention_days: float = Field(default=30, gt=0, le=36_500)

    app_secret: SecretStr | None = None
    app_secret_previous: SecretStr | None = None
    log_format: Literal["text", "json"] = "text"
    log_level: LogLevel = "INFO"
    metrics_token: SecretStr | None = None
    sentry_dsn: Dsn | None = None
    otel_exporter_otlp_endpoint: RootUrl | None = None
    otel_exporter_otlp_headers: SecretStr | None = None

    @field_validator("telegram_local_files")
    @classmethod
    def _has_a_server_of_its_own(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's signature
        if value and info.data.get("telegram_api_url") == _TELEGRAM:
            raise ValueError("needs TELEGRAM_API_URL: a Bot API server of your own, whose folder the bot can read")
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _report_together(cls, values: dict[str, Any], handler: ModelWrapValidatorHandler[Self]) -> Self:
        problems = values.pop(_UNREADABLE, [])
        data_dir = Path(values.get("data_dir") or "data")
        values.setdefault("database_url", f"sqlite:///{data_dir / 'bot.sqlite3'}")
        values.setdefault("media_store", str(data_dir / "media"))
        try:
            settings = handler(values)
        except ValidationError as error:
            raise SettingsError(problems + _sentences(error) + _contradictions(values)) from None
        if problems := problems + _contradictions(values):
            raise SettingsError(problems)
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's folder of secrets is another idea
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _SecretFiles(settings_cls, dotenv_settings, env_settings), env_settings, dotenv_settings

    @property
    def stores_in_s3(self) -> bool:
        return self.media_store.startswith("s3://")

    @property
    def serves_media(self) -> bool:
        """Whether AKOOL gets the objects from the bot itself."""
        return not self.stores_in_s3 or self.media_delivery == "proxy"

    @property
    def uses_sqlite(self) -> bool:
        return self.database_url.get_secret_value().startswith("sqlite:")

    @property
    def limits(self) -> Limits:
        """The quotas; an operator's `/limit` may say otherwise."""
        return Limits(
            daily=self.daily_limit,
            daily_chat=self.daily_limit_chat,
            pending=self.max_pending_per_user,
            spend=self.spend_limit_day,
        )

    @property
    def admins(self) -> list[int]:
        """Who hears of troubles."""
        return [admin for admin in self.admin_users if admin != "*"]

    @property
    def sizes(self) -> Sizes:
        """How large files may be, which is for the Bot API server to say."""
        return LOCAL if self.telegram_local_files else TELEGRAMS_OWN

    @property
    def akool_is_local(self) -> bool:
        """Whether AKOOL is itself on this machine, as in the demo; its results then may be too."""
        return urlsplit(self.akool_api_url).hostname in LOOPBACK

    @property
    def callback_id(self) -> str | None:
        return self.akool_client_id.get_secret_value() if self.akool_client_id else None

    @property
    def callback_secret(self) -> str | None:
        """The client secret, which is the API key under another name; it opens AKOOL's callbacks."""
        secret = self.akool_client_secret or self.akool_api_key
        return secret.get_secret_value() if secret else None

    @property
    def opens_callbacks(self) -> bool:
        """Whether a callback can be verified and read, and so can bring a lost `_id` home."""
        return self.public_url is not None and self.akool_client_id is not None

    def secrets(self) -> list[str]:
        """Every secret value, for the log's censor; also those that only boto3 reads."""
        values = (getattr(self, name) for name in type(self).model_fields if name != "database_url")
        found = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        database = urlsplit(self.database_url.get_secret_value())
        passwords = [unquote(database.password or ""), *parse_qs(database.query).get("password", ())]
        theirs = [os.environ.get(name, "") for name in _SECRETS_OF_AWS]
        headers = self.otel_exporter_otlp_headers
        given = [unquote(pair.partition("=")[2]) for pair in headers.get_secret_value().split(",")] if headers else []
        return [secret for secret in (*found, *passwords, *theirs, *given) if secret]


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads `NAME_FILE` for every secret `NAME`; where both are given, the file counts."""

    def __init__(self, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        environments = (source.env_vars for source in sources if isinstance(source, EnvSettingsSource))
        self._environment = {name: value for variables in environments for name, value in variables.items()}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = self._environment.get(f"{field_name}_file") if _is_secret(field) else None
        return (Path(path).read_text(encoding="utf-8").strip() if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            try:
                value, _, _ = self.get_field_value(field, name)
            except (OSError, UnicodeDecodeError):
                values.setdefault(_UNREADABLE, []).append(f"{name.upper()}_FILE names a file that can't be read")
            else:
                values |= {name: value} if value else {}
        return values


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr.__name__ in repr(field.annotation)


def _contradictions(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with the settings taken together, told even where single ones are wrong too."""
    public_url = values.get("public_url")
    has_client = values.get("akool_client_id") and values.get("akool_client_secret")
    rules = (
        (
            not values.get("akool_api_key") and not has_client,
            "AKOOL_API_KEY is missing (or AKOOL_CLIENT_ID together with AKOOL_CLIENT_SECRET)",
        ),
        (
            not public_url and values.get("telegram_updates") == "webhook",
            "TELEGRAM_UPDATES=webhook needs PUBLIC_URL, so that Telegram can reach the bot",
        ),
        (
            not public_url and not values["media_store"].startswith("s3://"),
            "PUBLIC_URL is missing: AKOOL fetches the media from there (or set MEDIA_STORE to s3://…)",
        ),
        (
            re.match(r"s3:/*$|s3:///", values["media_store"]) is not None,
            "MEDIA_STORE names no bucket: it must look like s3://bucket/prefix",
        ),
        (
            not str(values["database_url"]).startswith(("sqlite:///", "postgresql://", "postgres://")),
            "DATABASE_URL must begin with sqlite:/// or postgresql://",
        ),
        (
            not public_url and values.get("media_delivery") == "proxy",
            "MEDIA_DELIVERY=proxy needs PUBLIC_URL",
        ),
    )
    return [sentence for broken, sentence in rules if broken]


def _sentences(error: ValidationError) -> list[str]:
    sentences = []
    for problem in error.errors(include_input=False, include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing":
            sentences.append(f"{str(problem['loc'][0]).upper()} is missing")
        else:
            sentences.append(f"{str(problem['loc'][0]).upper()}: {message[0].lower()}{message[1:]}")
    return sentences
