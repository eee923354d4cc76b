"""What Prometheus reads."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import httpx
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from bot import metrics
from bot.exposition import Exposition
from bot.health import Part
from bot.sandbox import Akool
from bot.version import VERSION
from clocks import TurnableClock
from scenes import ask_for_video, calls_of, job_in, new_chat, passing, says, video_in
from storage.alarms import Alarms
from storage.database import Database
from storage.job import OPEN, State
from storage.jobs import Jobs
from storage.updates import Updates
from world import PHOTO, World, render_cheaply, world

TOKEN = "a-token-for-prometheus"


def values(exposition: str) -> dict[str, float]:
    lines = [line for line in exposition.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


async def scrape(here: World) -> Counter[str]:
    """What is counted so far, in all services of this process."""
    async with httpx.AsyncClient(base_url=here.settings.public_url or "") as http:
        response = await http.get("/metrics")
    assert response.status_code == 200
    return Counter(values(response.text))


async def shown(here: World, name: str, value: float) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(10):
        while (await scrape(here))[name] != value:
            await asyncio.sleep(0.01)


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path) as here:
        yield here


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
async def test_without_a_token_metrics_are_for_this_machine_alone(header: str, bare: World) -> None:
    """What a proxy hands on comes from elsewhere, although the proxy itself is here."""
    async with httpx.AsyncClient(base_url=bare.settings.public_url or "") as http:
        near = await http.get("/metrics")
        handed_on = await http.get("/metrics", headers={header: "203.0.113.7"})

    assert near.status_code == 200
    assert near.headers["Content-Type"].startswith("text/plain")
    assert handed_on.status_code == 404


async def test_with_a_token_metrics_tell_of_jobs_updates_and_loops(tmp_path: Path) -> None:
    clock = TurnableClock()
    async with world(tmp_path, clock=clock, metrics_token=TOKEN) as here:
        chat = await ask_for_video(here)
        await passing(here, clock, chat, video_in(chat))
        await job_in(here, chat, State.DELIVERED)
        await chat.send_photo(PHOTO)
        await job_in(here, chat, State.COLLECTING)
        other = new_chat(here)
        await here.telegram.updates.add("message", {"message_id": 1, "date": "yesterday"}, lane="broken")
        await other.send_text("hello")
        await says(other, "I need a photo")
        async with httpx.AsyncClient(base_url=here.settings.public_url or "") as http:
            refused = [
                (await http.get("/metrics", headers=headers)).status_code
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN})
            ]
            response = await http.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}", "Forwarded": "for=x"})

    assert refused == [401] * 3
    found = values(response.text)
    of_jobs = {name: value for name, value in found.items() if name.startswith("talkbot_jobs{")}
    assert of_jobs == {f'talkbot_jobs{{state="{state}"}}': float(state is State.COLLECTING) for state in OPEN}
    assert found["talkbot_updates_set_aside"] == 1
    assert all(found[f'talkbot_beat_age_seconds{{loop="{loop}"}}'] < 60 for loop in ("tracker", "updates", "statuses"))
    assert TOKEN not in response.text


async def test_a_whole_job_shows_in_every_counter(bare: World) -> None:
    before = await scrape(bare)
    chat = await ask_for_video(bare)
    await video_in(chat)
    await job_in(bare, chat, State.DELIVERED)
    after = await scrape(bare)
    gained = {name: after[name] - before[name] for name in after}

    on_the_way = ("collecting", "queued", "submitting", "rendering", "saving", "delivering")
    assert {state: gained[f'talkbot_state_seconds_count{{state="{state}"}}'] for state in on_the_way} == dict.fromkeys(
        on_the_way, 1
    )
    once = (
        'talkbot_jobs_ended_total{reason="",state="delivered"}',
        'talkbot_create_calls_total{outcome="accepted"}',
        'talkbot_renders_total{code="",outcome="completed"}',
        'talkbot_deliveries_total{outcome="delivered"}',
        'talkbot_telegram_seconds_count{method="sendVideo",status="200"}',
        'talkbot_akool_seconds_count{method="create_talking_photo",status="ok"}',
    )
    assert {name: gained[name] for name in once} == dict.fromkeys(once, 1)
    assert gained['talkbot_telegram_seconds_count{method="getFile",status="200"}'] == 2
    assert gained['talkbot_telegram_seconds_count{method="file",status="200"}'] == 2
    some = (
        'talkbot_questions_total{status="completed"}',
        'talkbot_callbacks_total{kind="genuine"}',
        'talkbot_telegram_seconds_count{method="getUpdates",status="200"}',
        'talkbot_akool_seconds_count{method="get_video",status="ok"}',
    )
    assert all(gained[name] >= 1 for name in some), gained
    assert after["talkbot_alarms_open"] == after["talkbot_queue_age_seconds"] == 0
    assert all(after[f'talkbot_ready{{part="{part}"}}'] == 1 for part in ("database", "store", "updates", "tracker"))
    assert after['talkbot_part_age_seconds{part="updates"}'] < 60
    assert after[f'talkbot_build_info{{version="{VERSION}"}}'] == 1
    assert after["process_resident_memory_bytes"] > 0


async def test_what_goes_wrong_is_counted_too(tmp_path: Path) -> None:
    """A job that AKOOL refuses, that is taken later, and whose video Telegram refuses once; then one without a face."""
    clock = TurnableClock()
    async with world(tmp_path, clock=clock) as here:
        here.akool.fail("createbytalkingphoto", code=1104)
        here.telegram.fail("sendVideo", 429, retry_after=3)
        before = await scrape(here)
        chat = await ask_for_video(here)
        await shown(here, "talkbot_alarms_open", 1)
        clock.turn(seconds=20)
        waiting = await scrape(here)
        await passing(here, clock, chat, video_in(chat))
        here.akool.fail_next_render("no face")
        other = await ask_for_video(here)
        await passing(here, clock, other, job_in(here, other, State.FAILED))
        (call,) = await calls_of(here, await job_in(here, other, State.FAILED))
        async with httpx.AsyncClient(base_url=here.settings.public_url or "") as http:
            assert (await http.post(f"/akool/{call.token}", content=b"{}")).status_code == 403
            assert (await http.post(f"/akool/{'x' * 24}", content=b"{}")).status_code == 404
        after = await scrape(here)
    gained = {name: after[name] - before[name] for name in after}

    assert waiting["talkbot_queue_age_seconds"] >= 20
    once = (
        'talkbot_create_calls_total{outcome="refused"}',
        'talkbot_renders_total{code="1104",outcome="refused"}',
        'talkbot_renders_total{code="render_failed_face",outcome="failed"}',
        'talkbot_jobs_ended_total{reason="render_failed_face",state="failed"}',
        'talkbot_retries_total{state="submitting"}',
        'talkbot_retries_total{state="delivering"}',
        'talkbot_deliveries_total{outcome="told_to_wait"}',
        'talkbot_telegram_seconds_count{method="sendVideo",status="429"}',
        'talkbot_akool_seconds_count{method="create_talking_photo",status="1104"}',
        'talkbot_callbacks_total{kind="refused"}',
        'talkbot_callbacks_total{kind="unknown_token"}',
    )
    assert {name: gained[name] for name in once} == dict.fromkeys(once, 1)


async def test_what_is_left_on_the_account_is_asked_now_and_then(tmp_path: Path) -> None:
    """At the start, and every ten minutes; an AKOOL that does not tell changes nothing."""
    clock = TurnableClock()
    vendor = Akool(renderer=render_cheaply, credit=77)
    async with world(tmp_path, clock=clock, akool=vendor) as here:
        await vendor.wait_for_call("quota")
        await shown(here, "talkbot_credit", 77)
        vendor.fail("quota", http_status=404)
        vendor.credit = 66
        clock.turn(seconds=600)
        await vendor.wait_until(lambda: sum(call.name == "quota" for call in vendor.calls) == 2)
        assert (await scrape(here))["talkbot_credit"] == 77
        await asked_again(vendor, clock, times=3)
        await shown(here, "talkbot_credit", 66)


async def asked_again(vendor: Akool, clock: TurnableClock, *, times: int) -> None:
    async with asyncio.timeout(10):
        while sum(call.name == "quota" for call in vendor.calls) < times:
            clock.turn(seconds=600)
            await asyncio.sleep(0.01)


async def test_a_request_without_an_answer_counts_and_one_that_is_broken_off_does_not() -> None:
    method = "aMethodOfThisTest"
    with pytest.raises(OSError, match="gone"), metrics.telegram_call(method):
        raise OSError("gone")
    with pytest.raises(asyncio.CancelledError), metrics.telegram_call(method):
        raise asyncio.CancelledError

    assert [labels for labels in metrics.TELEGRAM_SECONDS._metrics if labels[0] == method] == [(method, "no_answer")]
    assert (
        metrics.REGISTRY.get_sample_value("talkbot_telegram_seconds_count", {"method": method, "status": "no_answer"})
        == 1
    )


@pytest.mark.parametrize("is_known_to_be_broken", [True, False])
async def test_without_a_database_the_rest_is_still_shown(tmp_path: Path, *, is_known_to_be_broken: bool) -> None:
    """Its own gauges are left out, since what they said is no longer true; known to be broken, it is not even asked."""
    clock = TurnableClock()
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/empty")
    database = cast("Database", None) if is_known_to_be_broken else Database(engine, clock.now)

    async def health() -> dict[str, Part]:
        return {"database": Part(ok=not is_known_to_be_broken)}

    exposition = Exposition(
        jobs=Jobs(database),
        updates=Updates(database),
        alarms=Alarms(database),
        workers=[],
        health=health,
        clock=clock,
    )
    found = values((await exposition.text()).decode())
    await engine.dispose()

    assert found['talkbot_ready{part="database"}'] == float(not is_known_to_be_broken)
    assert "talkbot_updates_set_aside" not in found
    assert "process_cpu_seconds_total" in found
