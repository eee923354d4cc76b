"""The service dies at any point of a job's life, and starts again: nothing is lost, nothing is paid twice."""

import pytest

from plans import hooks_on_the_way, patiently, singles, universe, what_breaks
from simulated_hooks import Trouble
from universe import Universe

__all__ = ["universe"]

_PARTS = 8  # so that one that hangs is found sooner


def test_without_a_fault_all_is_well(universe: Universe) -> None:
    """The story itself ends with one video, and nothing is left over."""
    assert not what_breaks(universe, [[]])


@patiently
@pytest.mark.parametrize("part", range(_PARTS))
def test_a_crash_anywhere_does_no_harm(universe: Universe, part: int) -> None:
    """A process that is killed at any hook is replaced by one that knows nothing but the database."""
    plans = singles(universe.run(hooks_on_the_way), Trouble.CRASH)
    assert not what_breaks(universe, plans[part::_PARTS])


def test_the_same_seed_tells_the_same_story(universe: Universe) -> None:
    """A run is decided by its inputs alone, so a hook's number means the same place each time."""
    once, again = (universe.run(hooks_on_the_way, seed=7) for _ in range(2))
    assert [str(hook) for hook in once] == [str(hook) for hook in again]
