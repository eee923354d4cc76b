"""The service freezes at any point of a job's life, another takes over, and then the first goes on unaware."""

import pytest

from plans import hooks_on_the_way, patiently, singles, universe, what_breaks
from simulated_hooks import Trouble
from universe import Universe

__all__ = ["universe"]

_PARTS = 8


@patiently
@pytest.mark.parametrize("part", range(_PARTS))
def test_a_freeze_anywhere_does_no_harm(universe: Universe, part: int) -> None:
    """A process that is stopped at any hook for longer than its lease goes on when another has done all its work."""
    plans = singles(universe.run(hooks_on_the_way), Trouble.FREEZE)
    assert not what_breaks(universe, plans[part::_PARTS])
