"""Frozen, not dead: stopped for longer than a lease, overtaken, and woken in the middle of what it did."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from balancer import balancing
from databases import new_postgres_database
from freezes import freeze_at
from kills import TORTURE
from stage import stage
from victims import ForkServer

_SIDE_BY_SIDE = 3
_CHOSEN = (
    "before commit of calls (akool_id, outcome) + jobs rendering",  # PostgreSQL must end it, for its locks
    "before createbytalkingphoto",
    "after createbytalkingphoto",
    "after commit of jobs submitting + new calls",
    "after commit of updates claimed",
    "after commit of updates let go + new jobs",
    "after commit of jobs claimed",
    "after GET result",
    "after commit of jobs (sending_at)",
    "before sendVideo",
    "after sendVideo",
    "before sendMessage",
    "after sendMessage",
)


@pytest.mark.timeout(6000 if TORTURE else 1200)
async def test_one_that_wakes_in_the_middle_of_what_another_has_done_does_no_harm(
    tmp_path: Path, victims: ForkServer, postgres_url: str, weed_url: str
) -> None:
    """Two processes on PostgreSQL, at hooks chosen for what is at stake; in torture at every hook."""
    async with AsyncExitStack() as stack:
        stages = []
        for number in range(_SIDE_BY_SIDE):
            database_url = await stack.enter_async_context(new_postgres_database(postgres_url))
            balancer, url = await stack.enter_async_context(balancing())
            here = await stack.enter_async_context(
                stage(
                    tmp_path / str(number),
                    database_url,
                    victims,
                    calls_back=True,
                    s3_url=weed_url,
                    public_url=url,
                    telegram_updates="webhook",
                )
            )
            stages.append((here, balancer))
        freezers = await freeze_at(None if TORTURE else _CHOSEN, *stages)

    complaints = [complaint for freezer in freezers for complaint in freezer.complaints]
    assert not complaints, "\n".join(complaints)
    frozen = [name for freezer in freezers for name in freezer.frozen]
    missed = [name for freezer in freezers for name in freezer.missed]
    assert len(missed) <= len(frozen) / 10, missed
