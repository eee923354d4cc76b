"""The checks in their order, each with a limit of time, and none with a secret in what it says."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

from bot.clock import Clock
from bot.config import Settings, SettingsError, mistyped_names
from bot.doctor import account, database, hints, machine, media, telegram
from bot.doctor.patient import NotChecked, Patient, admitted
from bot.doctor.report import Finding, ok, problem, warning
from bot.logs import Censor
from bot.watching import missing

Check = Callable[[Patient], Awaitable[list[Finding]]]

_LIMIT_SECONDS = 10
_LISTEN_SECONDS = 5
_SKEW_SECONDS = 30
_SKEW_PROBLEM_SECONDS = 300  # S3 refuses signatures that are older


async def clocks(patient: Patient) -> list[Finding]:
    """Compare this machine's clock with the `Date` of all answers so far."""
    if not patient.skews:
        raise NotChecked("no service has told the time")
    host, skew = max(patient.skews.items(), key=lambda entry: abs(entry[1]))
    size = abs(skew)
    if size <= _SKEW_SECONDS:
        return [ok("clock", "This machine's clock agrees with those of the services.")]
    found = f"This machine's clock is {size:.0f} seconds {'behind' if skew > 0 else 'ahead of'} that of {host}."
    do = "Let the machine set its clock by NTP."
    return [(problem if size > _SKEW_PROBLEM_SECONDS else warning)("clock", found, do)]


CHECKS: tuple[tuple[str, Check], ...] = (
    ("python", machine.python),
    ("sqlite", machine.sqlite),
    ("codecs", machine.codecs),
    ("access", hints.access),
    ("alarms", hints.alarms),
    ("app-secret", hints.app_secret),
    ("data-dir", machine.data_dir),
    ("disk", machine.disk),
    ("database", database.database),
    ("replicas", database.replicas),
    ("telegram.token", telegram.token),
    ("telegram.privacy", telegram.privacy),
    ("telegram.groups", telegram.groups),
    ("telegram.admins", telegram.admins),
    ("telegram.webhook", telegram.webhook),
    ("telegram.poller", telegram.poller),
    ("akool.credentials", account.credentials),
    ("akool.callbacks", account.callbacks),
    ("store", media.store),
    ("listen", media.listening),
    ("media.fetch", media.fetch),
    ("public-url", media.public_url),
    ("clock", clocks),
)


async def examine(clock: Clock) -> AsyncGenerator[Finding]:
    """Read the settings and check all that they name; gives each finding as soon as it is there."""
    try:
        settings = Settings()  # type: ignore[call-arg]  # from the environment
    except SettingsError as error:
        for sentence in error.problems:
            yield problem("settings", f"{sentence}.", "Set it in the environment or in .env; README.md tells of each.")
        return
    for sentence in missing(settings):
        yield problem(
            "settings", f"{sentence}.", "Do that, or leave the setting out: the bot does not start like this."
        )
    yield ok("settings", "The settings can be read.")
    for name, meant in mistyped_names().items():
        yield warning("settings", f"{name} is no setting of the bot.", f"Is {meant} meant? Then name it so.")
    async for finding in diagnose(settings, clock):
        yield finding


async def diagnose(
    settings: Settings,
    clock: Clock,
    *,
    checks: Sequence[tuple[str, Check]] = CHECKS,
    limit_seconds: float = _LIMIT_SECONDS,
    listen_seconds: float = _LISTEN_SECONDS,
) -> AsyncIterator[Finding]:
    """Run the checks, one after the other, each for `limit_seconds` at most.

    `listen_seconds` is how long to wait for another program that polls.
    """
    censor = Censor(settings.secrets())
    async with admitted(settings, clock, listen_seconds=listen_seconds) as patient:
        for code, check in checks:
            for finding in await _run(code, check, patient, limit_seconds):
                yield replace(finding, found=censor(finding.found), do=censor(finding.do) if finding.do else None)


async def _run(code: str, check: Check, patient: Patient, limit_seconds: float) -> list[Finding]:
    try:
        async with asyncio.timeout(limit_seconds):
            return await check(patient)
    except NotChecked as reason:
        return [warning(code, f"This was not checked, since {reason}.", "Set that right, and ask the doctor again.")]
    except TimeoutError:
        found, do = (
            f"There was no answer within {limit_seconds:g} seconds.",
            "See that what it asks runs and is reached.",
        )
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide the others; texts may hold URLs
        found, do = f"The check ended with {type(error).__name__}.", "See docs/doctor.md for what it asks."
    return [problem(code, found, do)]
