"""What `run` checks: before the start what would make every job fail, and from then on whether AKOOL can fetch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

import akool
from bot.clock import Clock
from bot.config import Settings
from bot.doctor import account, machine, media
from bot.doctor.examination import diagnose
from bot.doctor.report import Finding, Status
from bot.loops import alongside
from bot.resources import open_akool
from bot.texts import MEDIA_ALARM
from storage.alarms import Alarms
from storage.engine import DATABASE_ERRORS

log = structlog.get_logger()

_KEY_SECONDS = 5
_LOOKS = 3
_BETWEEN_LOOKS_SECONDS = 20  # a tunnel may start after us
_LOOK_EVERY_SECONDS = 600


class Unfit(Exception):
    """Every job would fail; the message says why, and what to do."""


async def refuse_the_unfit(settings: Settings) -> None:
    """Raise `Unfit` where the folder can't be written, codecs lack, or AKOOL refuses the key outright."""
    hindrances, refusal = await asyncio.gather(asyncio.to_thread(machine.hindrances, settings), _refusal(settings))
    for finding in (*hindrances, *refusal):
        raise Unfit(f"{finding.found} {finding.do}")


async def _refusal(settings: Settings) -> list[Finding]:
    """Only a clear word stops the start: an AKOOL that is out of order, or out of credit, will pass."""
    try:
        async with asyncio.timeout(_KEY_SECONDS), open_akool(settings) as client:
            await client.get_credit()
    except akool.InvalidToken as error:
        if error.code is not None:  # else it is not AKOOL that answers
            return [account.refused(error)]
        log.warning("the key could not be checked", error=type(error).__name__)
    except (akool.AkoolError, TimeoutError) as error:
        log.warning("the key could not be checked", error=type(error).__name__)
    return []


@asynccontextmanager
async def looking_back(settings: Settings, clock: Clock, alarms: Alarms) -> AsyncIterator[None]:
    """See in the background, for as long as the service runs, whether AKOOL can fetch what the bot serves."""
    async with alongside(_look_again_and_again(settings, clock, alarms), name="looking back"):
        yield


async def _look_again_and_again(settings: Settings, clock: Clock, alarms: Alarms) -> None:
    while settings.serves_media:
        with suppress(*DATABASE_ERRORS):  # then the next look tells
            await _look(settings, clock, alarms)
        await clock.wait(asyncio.Event(), seconds=_LOOK_EVERY_SECONDS)
    await alarms.over(MEDIA_ALARM)  # of a time when the bot still served them itself


async def _look(settings: Settings, clock: Clock, alarms: Alarms) -> None:
    for look in range(_LOOKS):
        if look:
            await clock.wait(asyncio.Event(), seconds=_BETWEEN_LOOKS_SECONDS)
        checks = (("store", media.store), ("media.fetch", media.fetch))
        findings = [finding async for finding in diagnose(settings, clock, checks=checks)]
        problems = [finding for finding in findings if finding.status is Status.PROBLEM]
        if not problems:
            await alarms.over(MEDIA_ALARM)
            return
    for finding in problems:
        log.error("AKOOL can't fetch media from the bot", found=finding.found, do=finding.do)
    await alarms.raise_(MEDIA_ALARM, problems[0].code)
