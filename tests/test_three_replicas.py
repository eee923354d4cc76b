"""Three replicas on one PostgreSQL and one S3 server, behind a balancer: one is killed, and one is replaced."""

import asyncio
import signal
from pathlib import Path

import pytest
from sqlalchemy import select

from balancer import Balancer, balancing
from cases import Case, settle
from media_samples import sound
from stage import Stage, first_of, small_portrait, stage
from storage.schema import notices
from victims import ForkServer, Hook, Victim
from world import free_port

_PEOPLE = 9
_AT_AKOOL = 3


async def replica(here: Stage, balancer: Balancer) -> Victim:
    port = free_port()
    victim = here.start(port=port)
    await victim.birth()
    balancer.roots.append(f"http://127.0.0.1:{port}")
    return victim


async def come(here: Stage) -> Case:
    case = Case(here, here.new_chat(), risks=False)
    await case.chat.send_photo(small_portrait())
    await case.chat.send_voice(sound(seconds=1))
    return case


async def let_all_renders_end(here: Stage) -> None:
    """Those that AKOOL has, and whatever it gets, until cancelled."""
    await here.akool.wait_until(here.let_renders_end, timeout_seconds=90)


def most_at_once(here: Stage) -> int:
    """How many renders AKOOL has had under way at one time."""
    spans = [(video.created_at_ms, video.completed_at_ms) for video in here.akool.videos]
    return max(sum(1 for start, end in spans if start <= moment < end) for moment, _ in spans)


async def shared_rates(here: Stage) -> list[str]:
    """Of Telegram's rates, those that stand where all replicas see them."""
    shared = select(notices.c.key).where(notices.c.key.startswith("rate:"))
    async with here.reading() as database, database.begin() as connection:
        return list(await connection.scalars(shared))


@pytest.mark.timeout(300)
async def test_with_one_killed_and_one_replaced_all_get_their_videos_and_each_is_paid_once(
    tmp_path: Path, victims: ForkServer, own_postgres_url: str, weed_url: str
) -> None:
    """It is killed right when AKOOL has said yes to it and nobody else knows; its callback finds its way home.

    That is whichever comes first to the first job; the others come when it is gone.
    """
    async with (
        balancing() as (balancer, url),
        stage(
            tmp_path / "three",
            own_postgres_url,
            victims,
            calls_back=True,
            s3_url=weed_url,
            public_url=url,
            telegram_updates="webhook",
            akool_max_concurrent=_AT_AKOOL,
        ) as here,
    ):
        here.akool.hold()
        replicas = await asyncio.gather(*(replica(here, balancer) for _ in range(3)))
        for victim in replicas:
            await victim.be_struck(Hook("after createbytalkingphoto"), signal.SIGKILL)
        cases = [await come(here)]
        await first_of(*(victim.death() for victim in replicas))
        doomed, replaced, steady = sorted(replicas, key=lambda victim: not victim.is_dead)
        for victim in (replaced, steady):
            await victim.order()
        cases += [await come(here) for _ in range(_PEOPLE - 1)]
        await here.akool.wait_until(lambda: len(here.akool.videos) == _AT_AKOOL, timeout_seconds=60)
        rendering = asyncio.create_task(let_all_renders_end(here))
        await replaced.end()
        newcomer = await replica(here, balancer)
        await settle(here, cases, [steady, newcomer])
        rendering.cancel()
        for victim in (steady, newcomer):
            await victim.end()

        assert doomed.struck_at
        assert replaced.has_stopped_well
        complaints = [complaint for case in cases for complaint in await case.complaints()]
        assert not complaints + await here.balance({})
        assert len(here.akool.videos) == _PEOPLE
        assert most_at_once(here) <= _AT_AKOOL
        assert [call.name for call in here.telegram.calls].count("setWebhook") == 1
        assert len(await shared_rates(here)) == 1 + _PEOPLE
