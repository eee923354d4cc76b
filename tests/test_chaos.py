"""Several processes on one PostgreSQL, killed, stopped and ended at random, and the database under them too."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from balancer import balancing
from cases import settle
from chaos import Chaos, own_postgres
from kills import TORTURE
from stage import stage
from victims import PATIENCE_SECONDS, ForkServer

_SCALE = 5 * TORTURE or 1
_SECONDS = 12 * _SCALE
_PEOPLE = round(14 * _SCALE)
_SEED = int(os.environ.get("SEED") or random.randrange(10**6))


@pytest.mark.timeout(180 * _SCALE + 20 * _SECONDS)
@pytest.mark.usefixtures("postgres_url")
async def test_whatever_befalls_the_processes_and_their_database_all_get_their_videos(
    tmp_path: Path, victims: ForkServer, weed_url: str
) -> None:
    """Two to four processes; the seed is in the failure's text, `SEED=…` takes it again."""
    with own_postgres() as server:
        async with (
            balancing() as (balancer, url),
            stage(
                tmp_path / "chaos",
                server.get_uri(),
                victims,
                calls_back=True,
                s3_url=weed_url,
                public_url=url,
                telegram_updates="webhook",
            ) as here,
        ):
            chaos = Chaos(here, balancer, random.Random(_SEED))
            await asyncio.gather(*(chaos.start(place) for place in range(chaos.random.randint(2, 4))))
            ends_at = asyncio.get_running_loop().time() + _SECONDS
            people = asyncio.create_task(chaos.people(_PEOPLE, seconds=_SECONDS * 0.8))
            striking = asyncio.create_task(chaos.strike(until=ends_at))
            await asyncio.sleep(_SECONDS / 2)
            await chaos.crash(server)
            await asyncio.gather(people, striking)
            try:
                await settle(here, chaos.cases, chaos.processes, patience_seconds=PATIENCE_SECONDS * _SCALE)
            except TimeoutError as error:
                error.add_note(f"SEED={_SEED} {chaos.strikes}")
                raise
            complaints = await chaos.complaints()

    assert not complaints, f"SEED={_SEED} {chaos.strikes} {complaints}"
