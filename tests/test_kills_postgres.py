"""Every commit, every effect, on PostgreSQL: killed there, and started again."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from databases import new_postgres_database
from kills import TORTURE, kill_everywhere
from stage import stage
from victims import ForkServer

_FEWEST = 45  # hooks that were found and struck, lest the finding fails unnoticed


@pytest.mark.timeout(6000 if TORTURE else 1200)
async def test_killed_at_any_hook_it_loses_nothing_and_pays_nothing_twice(
    tmp_path: Path, victims: ForkServer, postgres_url: str
) -> None:
    """With callbacks, and, where there is time, by asking AKOOL only; on SQLite that is always tried."""
    async with AsyncExitStack() as stack:
        stages = []
        for calls_back in (True, False) if TORTURE else (True,):
            database = await stack.enter_async_context(new_postgres_database(postgres_url))
            here = stage(tmp_path / f"callbacks {calls_back}", database, victims, calls_back=calls_back)
            stages.append(await stack.enter_async_context(here))
        tolls = await kill_everywhere(*stages)

    assert sum(len(toll.struck) for toll in tolls) >= _FEWEST
    for toll in tolls:
        assert not toll.complaints, toll
        assert len(toll.missed) <= len(toll.struck) / 10, toll
