"""Stopping one of two processes at a hook for longer than its lease: the other takes over, then the first is woken.

It goes on in the middle of what it did, believing that nothing has happened, and must do no harm.
"""

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain

from balancer import Balancer
from cases import Case, settle
from stage import Stage, first_of
from victims import Hook, Victim
from world import free_port

# Who is stopped between the intent to send and the note that it is sent, sends what the other has sent meanwhile.
_SENDING = (
    "after commit of jobs (sending_at)",
    "before sendVideo",
    "after sendVideo",
)


async def freeze_at(names: Sequence[str] | None, *stages: tuple[Stage, Balancer]) -> list["Freezer"]:
    """Freeze at these hooks, or at all; stages take them in turns, side by side, since most of it is waiting."""
    freezers = [Freezer(here, balancer) for here, balancer in stages]
    async with asyncio.TaskGroup() as beginning:
        found = [beginning.create_task(freezer.begin()) for freezer in freezers]
    todo = list(names or dict.fromkeys(chain.from_iterable(task.result() for task in found)))

    async def work(freezer: Freezer) -> None:
        while todo:
            name = todo.pop(0)
            try:
                await freezer.freeze(name, risks=len(todo) % 2 == 0)
            except TimeoutError as error:
                error.add_note(f"stopped {name}, after {freezer.frozen}: {freezer.complaints}")
                raise
        await freezer.end()

    async with asyncio.TaskGroup() as working:
        for freezer in freezers:
            working.create_task(work(freezer))
    return freezers


@dataclass
class Freezer:
    """Has two processes of the service running, and stops one of them again and again."""

    here: Stage
    balancer: Balancer
    frozen: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _risked: dict[int, int] = field(default_factory=dict)
    _pair: list[Victim] = field(default_factory=list)

    async def begin(self) -> list[str]:
        """Start both, and find out which hooks there are."""
        self.here.akool.hold()
        self._pair = [await self._start(), await self._start()]
        case = self._case(risks=True)
        for victim in self._pair:
            await victim.order(record=True)
        await case.play(asyncio.Event().wait)
        await settle(self.here, [case], self._pair)
        self.complaints += await case.complaints()
        return list(dict.fromkeys(name for victim in self._pair for name in victim.passed))

    async def freeze(self, name: str, *, risks: bool) -> None:
        case = self._case(risks=risks)
        for victim in self._pair:
            await victim.be_struck(Hook(name), signal.SIGSTOP)
        await case.play(self._somebody_is_struck)
        await first_of(settle(self.here, [case], self._pair), self._somebody_is_struck())
        if any(victim.struck_at for victim in self._pair):
            self.frozen.append(name)
            await self._outlast(case)
        else:
            self.missed.append(name)
            for victim in self._pair:
                await victim.order()  # no hook any more
            await settle(self.here, [case], self._pair)
        self._risked[case.chat.id] = case.risked
        # In a transaction PostgreSQL waits for it, twenty seconds of ours: on the fast clock all leases are over then.
        outlasts_leases = name.startswith("before commit of ")
        complaints = await case.complaints(more_videos=int(name in _SENDING or outlasts_leases))
        self.complaints += [f"stopped {name}: {complaint}" for complaint in complaints]

    async def _outlast(self, case: Case) -> None:
        """Let the other one do all that is to be done, and only then wake the one that was stopped."""
        frozen, other = sorted(self._pair, key=lambda victim: victim.struck_at is None)
        await other.order()
        if other.struck_at:  # too, before it heard the order
            other.send(signal.SIGCONT)
        await settle(self.here, [case], [other])
        frozen.send(signal.SIGCONT)
        await frozen.end()  # which lets it do what it was about to do
        await settle(self.here, [case], [other])
        self._pair = [other, await self._start()]

    async def end(self) -> None:
        for victim in self._pair:
            await victim.end()
            if not victim.has_stopped_well:
                self.complaints.append("SIGTERM did not end it well")
        self.complaints += await self.here.balance(self._risked)

    # ---

    def _case(self, *, risks: bool) -> Case:
        return Case(self.here, self.here.new_chat(), risks=risks)

    async def _start(self) -> Victim:
        port = free_port()
        victim = self.here.start(port=port)
        await victim.birth()
        self.balancer.roots.insert(0, f"http://127.0.0.1:{port}")
        return victim

    async def _somebody_is_struck(self) -> None:
        await first_of(*(victim.strike() for victim in self._pair))
