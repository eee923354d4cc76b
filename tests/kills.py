"""Killing the service at hook after hook: each time it is started again, somebody's video must come all the same."""

import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from cases import Case
from stage import Stage
from victims import Hook, Victim

_SCHEMA = "commit of schema + new alembic_version"
_LATE = Hook("before sendVideo")  # an update, a job and its status have been claimed by then


@dataclass
class Toll:
    """What came of the kills."""

    kills: int = 0
    struck: set[Hook] = field(default_factory=set)
    missed: list[Hook] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    pressed: Counter[int] = field(default_factory=Counter)

    def note(self, hook: Hook, complaints: Sequence[str]) -> None:
        self.complaints += [f"killed {hook}: {complaint}" for complaint in complaints]


def named(passed: Sequence[str]) -> list[Hook]:
    """The hooks that were passed, in order."""
    occurrences: Counter[str] = Counter()
    hooks = []
    for name in passed:
        occurrences[name] += 1
        hooks.append(Hook(name, occurrences[name]))
    return hooks


class Killer:
    """Has one process of the service running, and kills it again and again."""

    def __init__(self, here: Stage) -> None:
        self.here = here
        self.toll = Toll()
        self.victim: Victim
        here.akool.hold()

    async def begin(self) -> None:
        """Start on a database that is still empty, and kill before and after its schema is made."""
        for hook in (Hook(f"before {_SCHEMA}"), Hook(f"after {_SCHEMA}")):
            await self._start_and_be_killed(hook)
        self.victim = await self._start()

    async def discover(self) -> tuple[list[Hook], list[Hook]]:
        """The hooks that a job passes, and those that a start passes, where something was left claimed."""
        case = self._case(risks=True)
        await self.victim.order(record=True)
        await case.play(self.victim)
        await case.settle(self.victim)
        self.toll.complaints += await case.complaints()
        passed = named(self.victim.passed)
        case = self._case(risks=True)
        await self.victim.be_struck(_LATE, signal.SIGKILL)
        await case.play(self.victim)
        self.victim = await self._start_again(case, record=True)
        started = named(self.victim.passed)  # what begins beside the start is not the start's
        await case.settle(self.victim)
        self.toll.complaints += await case.complaints()
        return passed, started

    async def kill_in_job(self, hook: Hook, *, risks: bool) -> None:
        case = self._case(risks=risks)
        await self.victim.be_struck(hook, signal.SIGKILL)
        await case.play(self.victim)
        if self.victim.is_dead:
            self.victim = await self._start_again(case)
            self.toll.struck.add(hook)
            self.toll.kills += 1
        else:
            self.toll.missed.append(hook)
            await self.victim.order()
        await self._conclude(case, hook)

    async def kill_at_start(self, hook: Hook) -> None:
        """Kill it late in a job, and then once more while it starts again."""
        case = self._case(risks=True)
        await self.victim.be_struck(_LATE, signal.SIGKILL)
        await case.play(self.victim)
        await self._start_and_be_killed(hook)
        self.victim = await self._start_again(case)
        await self._conclude(case, hook)

    async def end(self) -> Toll:
        """Let it stop as it does on SIGTERM, and look at the whole."""
        self.victim.send(signal.SIGTERM)
        await self.victim.until(lambda: False)
        if not self.victim.has_stopped_well:
            self.toll.complaints.append("SIGTERM did not end it well")
        self.toll.complaints += await self.here.balance(pressed=self.toll.pressed)
        return self.toll

    # ---

    def _case(self, *, risks: bool) -> Case:
        return Case(self.here, self.here.new_chat(), risks=risks)

    async def _conclude(self, case: Case, hook: Hook) -> None:
        await case.settle(self.victim)
        self.toll.pressed += case.pressed
        self.toll.note(hook, await case.complaints())

    async def _start(self) -> Victim:
        self.here.let_leases_pass()
        victim = self.here.start()
        await victim.until(lambda: victim.is_up)
        return victim

    async def _start_again(self, case: Case, *, record: bool = False) -> Victim:
        """Start, and see on the way what the dead one may have done that it could not note."""
        noted = await self.here.jobs_of(case.chat)
        logins = self.here.logins
        self.here.let_leases_pass()
        victim = self.here.start(order={"record": record})
        await self.here.sees(victim, "no login", lambda: self.here.logins > logins)
        case.excuse_now(noted)
        await victim.until(lambda: victim.is_up)
        return victim

    async def _start_and_be_killed(self, hook: Hook) -> None:
        self.here.let_leases_pass()
        order = {"hook": hook.name, "occurrence": hook.occurrence, "signal": signal.SIGKILL}
        victim = self.here.start(order=order)
        await victim.until(lambda: victim.is_up)
        if victim.struck_at:
            self.toll.struck.add(hook)
            self.toll.kills += 1
        else:
            self.toll.missed.append(hook)
        await victim.kill()
