"""Every commit, every effect, on PostgreSQL: killed there, and started again."""

from pathlib import Path

import pytest

from databases import new_postgres_database
from kills import TORTURE, kill_everywhere
from stage import stage
from victims import ForkServer

_FEWEST = 140  # hooks that were found and struck, lest the finding fails unnoticed


@pytest.mark.timeout(6000 if TORTURE else 1200)
async def test_killed_at_any_hook_it_loses_nothing_and_pays_nothing_twice(
    tmp_path: Path, victims: ForkServer, postgres_url: str
) -> None:
    """With callbacks, and by asking AKOOL only."""
    async with (
        new_postgres_database(postgres_url) as one,
        new_postgres_database(postgres_url) as other,
        stage(tmp_path / "callbacks", one, victims, calls_back=True) as with_callbacks,
        stage(tmp_path / "polling", other, victims, calls_back=False) as polling,
    ):
        tolls = await kill_everywhere(with_callbacks, polling)

    assert sum(len(toll.struck) for toll in tolls) >= _FEWEST
    for toll in tolls:
        assert not toll.complaints, toll
        assert len(toll.missed) <= len(toll.struck) / 10, toll
