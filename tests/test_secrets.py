"""No secret leaves: not in the log at its loudest, not in answers, not in errors that end the start, not in rows."""

import io
import logging
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from pydantic import SecretStr
from starlette.responses import JSONResponse

from bot import logs
from bot.config import Settings
from bot.resources import Keys
from bot.sandbox import Akool, BotApi
from bot.sandbox.stand_in import Fault
from bot.spellings import any_spelling
from bot.telegram import TokenRefused
from clocks import TurnableClock
from scenes import ask_for_video, job_in, passing
from storage.engine import DatabaseError
from storage.job import State
from storage.objects import StoreError
from world import World, render_cheaply, world

OURS: dict[str, Any] = {
    "app_secret": "app-secret-pear/+",
    "app_secret_previous": "app-secret-plum=%",
    "metrics_token": "metrics-token-fig",
}
TOKEN = "1234567:TheTokenOfThisTest"
AWS = {"AWS_SECRET_ACCESS_KEY": "aws-secret/quince+", "AWS_SESSION_TOKEN": "aws-session/medlar=="}
PASSWORD = "pass/word@apricot"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Where a test lets the log go; logging is global, so it is put back."""
    log = io.StringIO()
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield log
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def secrets_in(text: str, *secrets: str) -> list[str]:
    return [secret for secret in secrets if re.search(any_spelling(secret), text)]


def test_every_setting_that_is_secret_is_known_to_the_censor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the database's URL and of boto3's environment, too."""
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    names = [name for name, field in Settings.model_fields.items() if "SecretStr" in repr(field.annotation)]
    values = {name: SecretStr(f"secret-of-{name}") for name in names}
    values["database_url"] = SecretStr("postgresql://bot:pass%2Fword%40apricot@db/bot?password=other-password")
    known = Settings.model_construct(**values).secrets()  # type: ignore[arg-type]

    expected = {value.get_secret_value() for name, value in values.items() if name != "database_url"}
    assert len(expected) >= 7
    assert expected | {PASSWORD, "other-password", *AWS.values()} <= set(known)


def test_settings_hide_their_secrets_when_they_are_shown() -> None:
    required: dict[str, Any] = {
        "telegram_bot_token": TOKEN,
        "akool_api_key": "a-key-kiwi",
        "public_url": "https://b.example",
    }
    settings = Settings(_env_file=None, **(required | OURS))  # type: ignore[call-arg]
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert not secrets_in(shown, TOKEN, "a-key-kiwi", *OURS.values())


async def test_whoever_refuses_and_whatever_fails_no_secret_leaves(tmp_path: Path, log: io.StringIO) -> None:
    """Telegram and AKOOL refuse, and say again what they were sent; files can't be fetched; strangers try the doors."""
    telegram, akool, clock = BotApi(TOKEN), Akool(renderer=render_cheaply), TurnableClock()
    account = akool.account
    echo = f"you said {TOKEN} {account.client_secret} {account.client_id}"
    telegram.fail("sendMessage", 400, echo, times=2)
    telegram.fail("getUpdates", 500, echo, times=2)
    telegram.fail("getFile", 500, echo, times=2)
    akool.faults.append(Fault("createbytalkingphoto", JSONResponse({"code": 1015, "msg": echo})))
    akool.faults.append(Fault("infobymodelid", JSONResponse({"error": echo}, 500)))
    async with world(tmp_path, telegram=telegram, akool=akool, clock=clock, akool_max_concurrent=100, **OURS) as here:
        secrets = [*here.settings.secrets(), *Keys.of(here.settings).telegram_webhook]
        logs.set_up(style="text", level="DEBUG", secrets=secrets, stream=log)
        chat = await ask_for_video(here)
        await passing(here, clock, chat, job_in(here, chat, State.DELIVERED, State.FAILED))
        answers = await knock(here)

    rows = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("bot.sqlite3*")).decode("latin-1")
    assert {fault.times for fault in akool.faults} == {0}, "it did meet trouble"
    assert "DEBUG" in log.getvalue().upper()
    people = "\n".join(message.text for message in chat.messages)
    for text in (log.getvalue(), answers, rows, people):
        assert secrets_in(text, *secrets) == []


async def knock(here: World) -> str:
    """What strangers are told, headers and all."""
    told = []
    async with httpx.AsyncClient(base_url=here.settings.public_url or "") as http:
        for method in ("GET", "POST", "OPTIONS"):
            for path in ("/", "/akool/" + "x" * 20, "/telegram", "/media/9/x/y", "/healthz", "/readyz", "/metrics"):
                response = await http.request(method, path, headers={"Authorization": "Bearer x"})
                told.append(f"{response.status_code} {response.headers} {response.text}")
    return "\n".join(told)


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ({"telegram_bot_token": "999:somebody-else-s-token"}, TokenRefused),
        ({"database_url": "postgresql://bot:pass%2Fword%40apricot@127.0.0.1:1/bot"}, DatabaseError),
        ({"media_store": "s3://bucket/prefix"}, StoreError),
    ],
    ids=["Telegram", "database", "S3"],
)
async def test_what_ends_the_start_says_no_secret(
    trouble: dict[str, Any], error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    """Neither in its sentence nor in the whole traceback."""
    for name, value in {**AWS, "AWS_ACCESS_KEY_ID": "x", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}.items():
        monkeypatch.setenv(name, value)
    logs.set_up(level="DEBUG", stream=log)
    with pytest.raises(error) as caught:
        async with world(tmp_path, **OURS, **trouble):
            pass
    told = "".join(traceback.format_exception(caught.value)) + log.getvalue()
    assert secrets_in(told, "somebody-else-s-token", PASSWORD, *AWS.values(), *OURS.values()) == []
