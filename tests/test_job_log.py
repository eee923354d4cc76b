"""What an operator reads: a job's whole life by its number, and an error only where a person must act."""

import asyncio
import re
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from starlette.responses import PlainTextResponse
from structlog.testing import capture_logs

from bot.cli import main
from bot.loops import alongside, begun
from bot.sandbox.stand_in import Fault
from bot.version import VERSION
from bot.watching import log_state
from clocks import TurnableClock
from journal import journal, restored_logging
from scenes import ask_for_video, passing, video_in
from storage.database import open_database
from storage.drafts import new_draft
from storage.job import State
from storage.jobs import add
from world import world

CREATE, LOOK = "createbytalkingphoto", "infobymodelid"


async def test_a_job_s_life_can_be_followed_by_its_number_and_an_outage_that_passes_is_no_error(
    tmp_path: Path,
) -> None:
    """Telegram, AKOOL and the way to both fail for a while; nobody need do anything about that."""
    clock = TurnableClock()
    with journal() as log:
        async with world(tmp_path, clock=clock) as here:
            here.telegram.faults.append(Fault("getUpdates", PlainTextResponse("Bad Gateway", 502), times=2))
            here.telegram.faults.append(Fault("sendVideo", PlainTextResponse("Bad Gateway", 502), times=1))
            here.telegram.faults.append(Fault("getFile", PlainTextResponse("Bad Gateway", 502), times=1))
            here.akool.fail(CREATE, code=1005)
            here.akool.fail(LOOK, http_status=500)
            chat = await ask_for_video(here)
            await passing(here, clock, chat, video_in(chat))

    life = log.of(job=1)
    assert [line["state"] for line in life if line["event"] in ("job began", "job moved")] == [
        *("collecting", "queued", "submitting", "queued", "submitting"),
        *("rendering", "saving", "delivering", "delivered"),
    ]
    assert all(line["chat"] == chat.id and line["state"] in set(State) for line in life)
    told = [line["event"] for line in life]
    began_in = {line["event"]: line["state"] for line in life}
    assert began_in["AKOOL has the job"] == "submitting"
    assert began_in["a video was not delivered"] == "delivering"
    asked = told.index("AKOOL is asked for the video")
    assert told[asked + 1] == "AKOOL did not take the job"
    assert told.count("AKOOL is asked for the video") == 2
    assert {
        "a step failed; trying again later",
        "a half is ready",
        "AKOOL has the job",
        "a video was not delivered",
        "the chat has the video",
    } <= set(told)
    assert log.of(event="getUpdates failed", why="HTTP 502", level="warning")
    assert log.of(event="that trouble is over", trouble="getUpdates failed")
    assert not log.of(level="error")

    [start] = log.of(event="the bot is running")
    assert start.items() >= {"version": VERSION, "updates": "polling", "database": "sqlite", "store": "folder"}.items()
    assert len(log.of(event="the bot is stopping")) == 1


async def test_an_account_that_is_refused_is_one_error(tmp_path: Path) -> None:
    """However many jobs it holds up, and however often it is tried again."""
    clock = TurnableClock()
    with journal() as log:
        async with world(tmp_path, clock=clock) as here:
            here.akool.fail(CREATE, code=1104, times=2)
            chat = await ask_for_video(here)
            await passing(here, clock, chat, video_in(chat))

    [error] = log.of(level="error")
    assert (error["event"], error["about"]) == ("an alarm: a person must act", "OutOfCredit")
    refusals = log.of(event="AKOOL did not take the job", job=1, error="OutOfCredit", level="warning")
    assert len(refusals) == 2
    assert {refusal["why"] for refusal in refusals} == {"error"}, "AKOOL's own words"


def test_a_bot_that_ends_by_a_fault_of_its_own_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the log, where the operator looks, and as an error."""

    def broken(*_arguments: object) -> NoReturn:
        raise ValueError("a mistake of ours")

    for name, value in {"TELEGRAM_BOT_TOKEN": "1:a", "AKOOL_API_KEY": "key", "PUBLIC_URL": "http://127.0.0.1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("bot.cli.running", broken)
    with restored_logging():
        assert main(["run"]) == 1

    assert re.search(r"\[error +\] the bot ends by a fault of its own", capsys.readouterr().err)


async def test_a_loop_that_ends_by_a_fault_of_its_own_is_told_of() -> None:
    """Nobody waits for a loop, so nobody else would notice."""

    async def loop() -> None:
        raise ValueError("a mistake of ours")

    with capture_logs() as logged:
        await asyncio.wait({begun(loop(), name="sweeper")})
        async with alongside(loop(), name="credit"):
            await asyncio.sleep(0)

    assert [(line["loop"], line["log_level"]) for line in logged] == [("sweeper", "error"), ("credit", "error")]


async def test_what_is_not_committed_is_not_told(tmp_path: Path) -> None:
    """Else a transaction that is tried again would tell of a job twice, and one that fails of a job that never was."""
    url, clock = f"sqlite:///{tmp_path / 'bot.sqlite3'}", TurnableClock()
    row = {**new_draft(clock.now()), "chat_id": -7, "user_id": 7}
    with journal() as log:
        async with open_database(url, now=clock.now) as database:
            database.listener = log_state
            with suppress(ZeroDivisionError):
                async with database.begin() as connection:
                    await add(connection, row)
                    raise ZeroDivisionError
            async with database.begin() as connection:
                await add(connection, row)
                assert not log.of(event="job began")

    [line] = log.of(event="job began")
    assert (line["job"], line["chat"], line["state"]) == (1, -7, "collecting")
