"""Plans of faults for one story: somebody sends a photo and a voice note, and gets a video.

TORTURE (a number) lets there be more: a fault at every hook, not only where something outside the process's memory may
have changed, and so many times as many random plans.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest

from invariants import broken_promises, strays
from simulated_hooks import Fault, Hook, Trouble
from simulation import Stuck, World
from universe import Universe

TORTURE = int(os.environ.get("TORTURE") or 0)
SEED = 20_261_125
patiently = pytest.mark.timeout(600 + 1200 * TORTURE)  # the machine may have much else to do


@pytest.fixture(scope="module")
def universe() -> Iterator[Universe]:
    with Universe() as universe:
        yield universe


async def talk(world: World) -> None:
    """Ada sends both halves; then time passes until all is well."""
    ada = world.person()
    await asyncio.sleep(1)
    await world.send_photo(ada)
    await asyncio.sleep(2)
    await world.send_voice(ada)
    await world.live_on()


async def hooks_on_the_way(world: World) -> Sequence[Hook]:
    await talk(world)
    return world.hooks.passed


async def tell(world: World) -> list[str]:
    """What went wrong in the story."""
    found = []
    try:
        await talk(world)
    except Stuck as stuck:
        found.append(f"stuck: {stuck}")
    found += [*await broken_promises(world), *strays(world)]
    for state, reason in world.rows("SELECT state, reason FROM jobs WHERE state != 'delivered'"):
        found.append(f"the job ended as {state} ({reason})")
    return [f"{' and '.join(world.struck)}: {sentence}" for sentence in found]


def what_breaks(universe: Universe, plans: Iterable[Sequence[Fault]], *, seed: int = SEED) -> list[str]:
    """Everything that goes wrong when the story is told with these faults, once for each plan."""
    return [
        f"{sentence} (seed {seed}, {', '.join(map(str, plan))})"
        for plan in plans
        for sentence in universe.run(tell, plan, seed=seed)
    ]


def singles(hooks: Sequence[Hook], trouble: Trouble, *, thaws_after: float | None = None) -> list[Sequence[Fault]]:
    """One fault at each hook. Before a transaction a crash leaves the same behind as before its commit."""
    useful: Callable[[Hook], bool] = _crash_matters if trouble is Trouble.CRASH else _freeze_matters
    return [[Fault(trouble, number, thaws_after)] for number, hook in enumerate(hooks) if TORTURE or useful(hook)]


def _crash_matters(hook: Hook) -> bool:
    return hook.matters and (hook.is_commit or not (hook.is_transaction and hook.name.startswith("before ")))


def _freeze_matters(hook: Hook) -> bool:
    return hook.matters and not hook.is_commit
