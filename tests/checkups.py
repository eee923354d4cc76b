"""A machine for the doctor: settings that name a local Telegram and a local AKOOL, and chosen checks on them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.clock import Clock
from bot.config import Settings
from bot.doctor import CHECKS, Finding, Status, diagnose
from bot.sandbox import Akool, BotApi
from world import free_port

LISTEN_SECONDS = 0.05  # the local Telegram needs no longer to tell of another poller


@asynccontextmanager
async def machine(
    folder: Path, *, telegram: BotApi | None = None, akool: Akool | None = None, **settings: Any
) -> AsyncIterator[Settings]:
    """All that the bot needs, but not the bot. `settings` are those of `Settings`, in lower case."""
    telegram, akool = telegram or BotApi(), akool or Akool()
    port = free_port()
    async with telegram.serving() as telegram_url, akool.serving() as akool_url:
        yield settings_of(
            folder,
            **{
                "telegram_bot_token": telegram.token,
                "telegram_api_url": telegram_url,
                "akool_api_key": akool.account.client_secret,
                "akool_client_id": akool.account.client_id,
                "akool_api_url": akool_url,
                "public_url": f"http://127.0.0.1:{port}",
                "port": port,
                **settings,
            },
        )


def settings_of(folder: Path, **settings: Any) -> Settings:
    """Settings for checks that ask nobody, unless they say otherwise."""
    values: dict[str, Any] = {
        "telegram_bot_token": "1:not-a-secret",
        "akool_api_key": "not-a-secret-either",
        "akool_api_url": "http://127.0.0.1:1",
        "public_url": "http://127.0.0.1:1",
        "data_dir": str(folder / "data"),
        "allowed_users": "7",
        "admin_users": "7",
        **settings,
    }
    return Settings(_env_file=None, **values)  # type: ignore[call-arg]


async def examined(settings: Settings, *codes: str, clock: Clock | None = None) -> dict[str, Finding]:
    """The findings of these checks (all where none is named), by their codes. None tells a secret or lacks advice."""
    checks = [(code, check) for code, check in CHECKS if not codes or code in codes]
    assert len(checks) == len(codes or CHECKS)
    found = [
        finding async for finding in diagnose(settings, clock or Clock(), checks=checks, listen_seconds=LISTEN_SECONDS)
    ]
    told = " ".join(finding.line() for finding in found)
    assert not [secret for secret in settings.secrets() if secret in told]
    assert all((finding.do is None) == (finding.status is Status.OK) for finding in found)
    return {finding.code: finding for finding in found}


def amiss(findings: dict[str, Finding]) -> dict[str, Status]:
    """What is not ok, except for the SQLite that this machine happens to have."""
    bad: dict[str, Status] = {
        code: finding.status for code, finding in findings.items() if finding.status is not Status.OK
    }
    bad.pop("sqlite", None)
    return bad
