"""Every commit, every effect, on SQLite: killed there, and started again."""

from pathlib import Path

import pytest

from kills import TORTURE, kill_everywhere
from stage import stage
from victims import ForkServer

_FEWEST = 90  # hooks that were found and struck, lest the finding fails unnoticed


@pytest.mark.timeout(6000 if TORTURE else 1200)
async def test_killed_at_any_hook_it_loses_nothing_and_pays_nothing_twice(tmp_path: Path, victims: ForkServer) -> None:
    """With callbacks, and by asking AKOOL only."""
    async with (
        stage(tmp_path / "callbacks", None, victims, calls_back=True) as with_callbacks,
        stage(tmp_path / "polling", None, victims, calls_back=False) as polling,
    ):
        tolls = await kill_everywhere(with_callbacks, polling)

    assert sum(len(toll.struck) for toll in tolls) >= _FEWEST
    for toll in tolls:
        assert not toll.complaints, toll
        assert len(toll.missed) <= len(toll.struck) / 10, toll
