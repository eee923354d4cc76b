"""How long a render takes, from those that were made: the longer the voice, the longer it takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

_NEIGHBOURS = 15
_LATE_SHARE = 1.5  # of the median, where there are too few renders to know their spread
_FEWEST_FOR_SPREAD = 5


@dataclass(frozen=True, slots=True)
class Estimate:
    """`usual_ms` is what a render of this length takes at the median; beyond `late_ms` it is longer than usual."""

    usual_ms: int
    late_ms: int


def estimate(renders: Sequence[tuple[int, int]], *, voice_ms: int) -> Estimate | None:
    """From (length of the voice, time that it took) of past renders, ms: those whose voices were about as long."""
    alike = sorted(renders, key=lambda render: abs(render[0] - voice_ms))[:_NEIGHBOURS]
    if not alike:
        return None
    times = [took_ms for _, took_ms in alike]
    usual_ms = int(median(times))
    late_ms = int(usual_ms * _LATE_SHARE)
    if len(times) >= _FEWEST_FOR_SPREAD:
        late_ms = max(int(quantiles(times, n=10)[-1]), usual_ms)
    return Estimate(usual_ms, late_ms)
