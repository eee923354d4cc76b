"""Two faults at once, drawn at random: a crash or a freeze, and one more in what follows from it."""

import random
from collections.abc import Sequence

import pytest

from plans import SEED, TORTURE, hooks_on_the_way, patiently, universe, what_breaks
from simulated_hooks import Fault, Hook, Trouble
from universe import Universe

__all__ = ["universe"]

_PARTS = 3
_PAIRS = 15 * max(1, 20 * TORTURE)


@patiently
@pytest.mark.parametrize("part", range(_PARTS))
def test_two_faults_at_once_do_no_harm(universe: Universe, part: int) -> None:
    """Whatever befalls the process and then its successor, or itself once more: all is well in the end."""
    seed = SEED + part
    print(f"seed {seed}")  # noqa: T201 - pytest shows it where this fails
    hooks = universe.run(hooks_on_the_way, seed=seed)
    chance = random.Random(seed)
    assert not what_breaks(universe, [_pair(chance, hooks) for _ in range(_PAIRS)], seed=seed)


@patiently
def test_who_wakes_late_but_before_anybody_took_over_is_left_to_finish(universe: Universe) -> None:
    """Its lease was over without anybody's notice: it takes a new one before it sends, lest another sends meanwhile."""
    names = [hook.name for hook in universe.run(hooks_on_the_way)]
    frozen = names.index("after Jobs.advance delivering")
    plans = [
        [Fault(Trouble.FREEZE, frozen, thaws_after=1), Fault(Trouble.CRASH, frozen + later)] for later in range(1, 40)
    ]
    assert not what_breaks(universe, plans)


def _pair(chance: random.Random, hooks: Sequence[Hook]) -> list[Fault]:
    first = chance.choice([number for number, hook in enumerate(hooks) if hook.matters])
    second = first + chance.randint(1, len(hooks))
    return [_fault(chance, first), _fault(chance, second)]


def _fault(chance: random.Random, at: int) -> Fault:
    trouble = chance.choice(list(Trouble))
    return Fault(trouble, at, chance.choice([None, 1, 15, 60]) if trouble is Trouble.FREEZE else None)
