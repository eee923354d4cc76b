"""What `run` checks: what stops its start, what does not, and what it tells afterwards."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.clock import Clock
from bot.doctor import Unfit, looking_back, refuse_the_unfit
from bot.doctor import start as checks_of_start
from bot.sandbox import Akool
from checkups import machine, settings_of
from world import free_port, world


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


async def test_media_that_cant_be_fetched_are_told_after_the_start(tmp_path: Path) -> None:
    """An error with what to do, after three looks; nothing where all is well."""
    async with world(tmp_path) as here:
        with capture_logs() as logs:
            await checks_of_start._look(here.settings, Impatient())
            assert [entry for entry in logs if entry["log_level"] == "error"] == []
            astray = here.settings.model_copy(update={"public_url": f"http://127.0.0.1:{free_port()}"})
            await checks_of_start._look(astray, Impatient())

    [error] = [entry for entry in logs if entry["log_level"] == "error"]
    assert "could not fetch" in error["found"]
    assert "PUBLIC_URL" in error["do"]


async def test_looking_back_is_over_when_the_service_ends(tmp_path: Path) -> None:
    async with machine(tmp_path) as settings, looking_back(settings, Clock()):
        await asyncio.sleep(0)
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "looking back"] == []
