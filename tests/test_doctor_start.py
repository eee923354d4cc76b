"""What `run` checks: what stops its start, what does not, and what it tells afterwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot import texts
from bot.clock import Clock
from bot.doctor import Unfit, looking_back, refuse_the_unfit
from bot.doctor import start as checks_of_start
from bot.sandbox import Akool
from bot.texts import MEDIA_ALARM, words_for
from checkups import machine, settings_of
from clocks import TurnableClock
from storage.alarms import Alarms
from storage.database import open_database
from world import free_port, world


@pytest.fixture
async def alarms(tmp_path: Path) -> AsyncIterator[Alarms]:
    async with open_database(f"sqlite:///{tmp_path}/alarms.sqlite3", now=Clock().now) as database:
        yield Alarms(database)


class Impatient(Clock):
    """Does not wait between looks."""

    async def wait(self, bell: asyncio.Event, *, seconds: float) -> None:
        await super().wait(bell, seconds=0)


async def test_a_key_that_akool_refuses_stops_the_start(tmp_path: Path) -> None:
    async with machine(tmp_path, akool_api_key="not-the-key") as settings:
        with pytest.raises(Unfit, match=r"AKOOL does not know the key.* Set AKOOL_API_KEY") as caught:
            await refuse_the_unfit(settings)

    assert "not-the-key" not in str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [
        {"http_status": 500},
        {"http_status": 404},
        {"http_status": 401},
        {"http_status": 200},
        {"code": 1006},
        {"code": 1009},
    ],
    ids=["down", "unknown", "another's door", "a web page", "no credit", "no right"],
)
async def test_an_akool_that_is_out_of_order_does_not_stop_it(fault: dict[str, Any], tmp_path: Path) -> None:
    akool = Akool()
    akool.fail("quota", **fault)
    async with machine(tmp_path, akool=akool) as settings:
        with capture_logs() as logs:
            await refuse_the_unfit(settings)

    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("the key could not be checked", "warning")]


async def test_an_akool_that_never_answers_does_not_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks_of_start, "_KEY_SECONDS", 0.01)
    async with machine(tmp_path) as settings:
        await refuse_the_unfit(settings)
    await refuse_the_unfit(settings)


async def test_a_folder_that_cant_be_written_stops_it(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="can't be written"):
        await refuse_the_unfit(settings_of(tmp_path, data_dir="/dev/null/data"))


async def test_the_folder_that_is_made_to_try_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, app_secret="given, so that no file of it is made")
    await refuse_the_unfit(settings)
    assert settings.data_dir.stat().st_mode & 0o777 == 0o700


async def test_media_that_cant_be_fetched_are_an_error_and_an_alarm_until_they_can(
    tmp_path: Path, alarms: Alarms
) -> None:
    """After three looks, with what to do; nothing where all is well."""
    async with world(tmp_path) as here:
        with capture_logs() as logs:
            await checks_of_start._look(here.settings, Impatient(), alarms)
            assert [entry for entry in logs if entry["log_level"] == "error"] == []
            astray = here.settings.model_copy(update={"public_url": f"http://127.0.0.1:{free_port()}"})
            await checks_of_start._look(astray, Impatient(), alarms)
            [alarm] = await alarms.claim(9, lease_ms=1000)
            await alarms.told(alarm)
            await checks_of_start._look(here.settings, Impatient(), alarms)
            [over] = await alarms.claim(9, lease_ms=1000)

    assert (alarm.key, alarm.over_at) == (over.key, None) == (MEDIA_ALARM, None)
    assert over.over_at is not None
    said = [texts.alarm(words_for("en"), told.key, told.text, is_over=told is over) for told in (alarm, over)]
    assert said == [texts.MEDIA_TROUBLE, texts.MEDIA_WORKS_AGAIN]
    [error] = [entry for entry in logs if entry["log_level"] == "error"]
    assert "could not fetch" in error["found"]
    assert "PUBLIC_URL" in error["do"]


async def test_whether_media_can_be_fetched_is_looked_at_for_as_long_as_the_service_runs(
    tmp_path: Path, alarms: Alarms
) -> None:
    """A tunnel may end any day."""
    clock = TurnableClock()
    async with machine(tmp_path) as settings:
        astray = settings.model_copy(update={"public_url": "http://127.0.0.1:1"})
        with capture_logs() as logs:
            async with looking_back(astray, clock, alarms), asyncio.timeout(60):
                for times in (1, 2):
                    while sum(entry["log_level"] == "error" for entry in logs) < times:
                        clock.turn(seconds=20)
                        await asyncio.sleep(0.01)
    assert await alarms.count_open() == 1


async def test_a_bot_that_serves_no_media_any_more_ends_the_alarm_about_them(tmp_path: Path, alarms: Alarms) -> None:
    """Jobs would else wait for ever for a tunnel that nobody needs."""
    await alarms.raise_(MEDIA_ALARM, "media.fetch")
    settings = settings_of(tmp_path, media_store="s3://bucket/prefix")
    async with looking_back(settings, Clock(), alarms), asyncio.timeout(10):
        while await alarms.is_open(MEDIA_ALARM):
            await asyncio.sleep(0.01)


async def test_looking_back_is_over_when_the_service_ends(tmp_path: Path, alarms: Alarms) -> None:
    async with machine(tmp_path) as settings, looking_back(settings, Clock(), alarms):
        await asyncio.sleep(0)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "looking back"] == []
