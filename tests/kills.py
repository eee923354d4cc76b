"""Killing the service at hook after hook: each time it is started again, somebody's video must come all the same."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cases import Case, settle
from stage import Stage, first_of
from victims import Hook, Victim

_SCHEMA = "commit of schema + new alembic_version"
_LATE = Hook("before sendVideo")  # an update, a job and its status have been claimed by then

TORTURE = float(os.environ.get("TORTURE", "0"))
"""How far beyond what fits into `make test` to go; `make torture` sets it."""


@dataclass
class Toll:
    """What came of the kills."""

    struck: set[Hook] = field(default_factory=set)
    missed: list[Hook] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def named(passed: Sequence[str]) -> list[Hook]:
    """The hooks that were passed, in order."""
    occurrences: Counter[str] = Counter()
    hooks = []
    for name in passed:
        occurrences[name] += 1
        hooks.append(Hook(name, occurrences[name]))
    return hooks


async def kill_everywhere(*stages: Stage) -> list[Toll]:
    """Kill the service at every hook of every stage, the stages side by side.

    What is passed several times, as when two halves arrive, is struck once, unless there is time. The simulation
    strikes it each time.
    """
    killers = [Killer(here) for here in stages]
    async with asyncio.TaskGroup() as beginning:
        for killer in killers:
            beginning.create_task(killer.begin())
    async with asyncio.TaskGroup() as working:
        tolls = [working.create_task(killer.work(killer.hooks)) for killer in killers]
    return [toll.result() for toll in tolls]


class Killer:
    """Has one process of the service running, and kills it again and again."""

    def __init__(self, here: Stage) -> None:
        self.here = here
        self.hooks: list[Hook] = []
        self._toll = Toll()
        self._victim: Victim
        self._start_hooks: set[Hook] = set()
        self._risked: dict[int, int] = {}

    async def begin(self) -> None:
        """Kill before and after the schema of the empty database is made, and find out what other hooks there are."""
        self.here.akool.hold()
        for hook in (Hook(f"before {_SCHEMA}"), Hook(f"after {_SCHEMA}")):
            await self._start_and_be_killed(hook)
        self._victim = await self._start()

        case = self._case(risks=True)
        await self._victim.order(record=True)
        await case.play(self._victim.death)
        await self._conclude(case, "undisturbed")
        self.hooks = [hook for hook in named(self._victim.passed) if TORTURE or hook.occurrence == 1]

        case = self._case(risks=True)
        await self._victim.be_struck(_LATE, signal.SIGKILL)
        await case.play(self._victim.death)
        self._victim = await self._start_again(case, record=True)
        self._start_hooks = {Hook(f"at start {hook.name}", hook.occurrence) for hook in named(self._victim.passed)}
        self.hooks += sorted(self._start_hooks)
        await self._conclude(case, f"killed {_LATE}")

    async def work(self, hooks: Sequence[Hook]) -> Toll:
        """Kill at each of the hooks, let the last process stop as it does on SIGTERM, and look at the whole."""
        for turn, hook in enumerate([*hooks, *hooks]):
            if hook in self._toll.struck:
                continue
            try:  # again in the second round, since which hooks there are varies a little
                await self._kill(hook, risks=turn % 2 == 0)
            except TimeoutError as error:
                error.add_note(f"killed {hook}, after {self._toll}")
                raise
        self._toll.missed = [hook for hook in hooks if hook not in self._toll.struck]
        await self._victim.end()
        if not self._victim.has_stopped_well:
            self._toll.complaints.append("SIGTERM did not end it well")
        self._toll.complaints += await self.here.balance(self._risked)
        return self._toll

    async def _kill(self, hook: Hook, *, risks: bool) -> None:
        case = self._case(risks=risks)
        is_at_start = hook in self._start_hooks
        await self._victim.be_struck(_LATE if is_at_start else hook, signal.SIGKILL)
        await case.play(self._victim.death)
        await first_of(self._settle(case), self._victim.death())
        if not self._victim.is_dead:
            await self._victim.order()  # no hook any more, unless it comes to it just now
        if self._victim.is_dead:
            if not self._victim.struck_at:
                self._toll.complaints.append(f"it died by itself, not at {hook}:\n{self.here.last_words}")
            elif is_at_start:
                await self._start_and_be_killed(hook)
            else:
                self._toll.struck.add(hook)
            self._victim = await self._start_again(case)
        await self._conclude(case, f"killed {hook}")

    async def _settle(self, case: Case) -> None:
        await settle(self.here, [case], [self._victim])

    # ---

    def _case(self, *, risks: bool) -> Case:
        return Case(self.here, self.here.new_chat(), risks=risks)

    async def _conclude(self, case: Case, how: str) -> None:
        await self._settle(case)
        self._risked[case.chat.id] = case.risked
        self._toll.complaints += [f"{how}: {complaint}" for complaint in await case.complaints()]

    async def _start(self) -> Victim:
        await self.here.let_leases_pass()
        victim = self.here.start()
        await victim.birth()
        return victim

    async def _start_again(self, case: Case, *, record: bool = False) -> Victim:
        """Start, and see on the way what the dead one may have done that it could not note."""
        noted = await self.here.jobs_of(case.chat)
        logins = self.here.logins
        await self.here.let_leases_pass()
        victim = self.here.start(order={"record": record})
        await self.here.sees(lambda: self.here.logins > logins, unless=victim.death)
        case.excuse_now(noted)
        await victim.birth()
        return victim

    async def _start_and_be_killed(self, hook: Hook) -> None:
        await self.here.let_leases_pass()
        order = {"hook": hook.name.removeprefix("at start "), "occurrence": hook.occurrence, "signal": signal.SIGKILL}
        victim = self.here.start(order=order)
        await victim.birth()
        if victim.struck_at:
            self._toll.struck.add(hook)
        await victim.end(signal.SIGKILL)
