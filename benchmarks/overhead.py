"""Our own time and CPU per job, beside a bare script that does the same work: `python -m benchmarks.overhead`.

Times are from the voice note's update to AKOOL's create call, and from AKOOL's completed render to `sendVideo` with
the whole video received. They are all of our own and of the local servers; nobody else is waited for.
"""

import asyncio
from collections.abc import Sequence
from statistics import median

from benchmarks import media
from benchmarks.rounds import Round, play
from benchmarks.stage import BARE, BOT, staged

_ALONE = 4
_AT_ONCE = 50


async def main() -> None:
    media.video()
    rounds = {name: await _measure(program) for name, program in (("bot", BOT), ("bare script", BARE))}
    for title, number in ((f"one job alone ({_ALONE} times)", 0), (f"{_AT_ONCE} jobs at once", 1)):
        print(f"{title}:")
        for name, found in rounds.items():
            _print_round(name, found[number])
        cpu, bare_cpu = (found[number].cpu_seconds for found in rounds.values())
        print(f"  CPU, bot : bare script = {cpu / bare_cpu:.2f}")


async def _measure(program: tuple[str, ...]) -> tuple[Round, Round]:
    """One job after the other, and then many at once; the libraries are loaded by a first one that is not counted."""
    async with staged() as stage, stage.running(program) as running:
        await play(stage, running, 1)
        alone = Round.of([await play(stage, running, 1) for _ in range(_ALONE)])
        return alone, await play(stage, running, _AT_ONCE)


def _print_round(name: str, found: Round) -> None:
    jobs = len(found.to_create_ms)
    calls = ", ".join(f"{count / jobs:.1f} {method}" for method, count in found.calls.most_common())
    print(f"  {name}: {found.cpu_seconds / jobs * 1000:.0f} ms CPU per job")
    print(f"    voice update → create call: {_summary(found.to_create_ms)}")
    print(f"    completed render → sendVideo: {_summary(found.to_video_ms)}")
    print(f"    Bot API calls per job: {calls}")


def _summary(times_ms: Sequence[int]) -> str:
    return f"median {median(times_ms):.0f} ms, longest {max(times_ms)} ms"


if __name__ == "__main__":
    asyncio.run(main())
