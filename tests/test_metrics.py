"""What Prometheus reads."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from clocks import TurnableClock
from scenes import ask_for_video, job_in, new_chat, passing, says, video_in
from storage.jobs import State
from world import World, world

TOKEN = "a-token-for-prometheus"


def values(exposition: str) -> dict[str, float]:
    lines = [line for line in exposition.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


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
    assert {state: found[f'talkbot_jobs{{state="{state}"}}'] for state in State} == {
        state: float(state is State.DELIVERED) for state in State
    }
    assert found["talkbot_updates_set_aside"] == 1
    assert all(found[f'talkbot_beat_age_seconds{{loop="{loop}"}}'] < 60 for loop in ("tracker", "updates", "statuses"))
    assert TOKEN not in response.text
