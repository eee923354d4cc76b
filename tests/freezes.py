"""Stopping one of two processes at a hook for longer than its lease: the other takes over, then the first is woken.

It goes on in the middle of what it did, believing that nothing has happened, and must do no harm.
"""

import asyncio
import signal
from dataclasses import dataclass, field

from balancer import Balancer
from cases import Case, settle
from stage import Stage
from victims import Hook, Victim
from world import free_port

# Hooks between a claim to speak and the note that it is said. Who is stopped there says it a second time.
_SENDING = (
    "after commit of jobs (sending_at)",
    "before sendVideo",
    "after sendVideo",
    "before commit of jobs delivered",
)


@dataclass
class Freezer:
    here: Stage
    balancer: Balancer
    frozen: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    risked: dict[int, int] = field(default_factory=dict)
    pair: list[Victim] = field(default_factory=list)

    async def begin(self) -> list[str]:
        """Start both, and find out which hooks there are."""
        self.here.akool.hold()
        self.pair = [await self._start(), await self._start()]
        case = self._case(risks=True)
        for victim in self.pair:
            await victim.order(record=True)
        await case.play(asyncio.Event().wait)
        await settle(self.here, [case], self.pair)
        self.complaints += await case.complaints()
        return list(dict.fromkeys(name for victim in self.pair for name in victim.passed))

    async def freeze(self, name: str, *, risks: bool) -> None:
        case = self._case(risks=risks)
        for victim in self.pair:
            await victim.be_struck(Hook(name), signal.SIGSTOP)
        await case.play(self._somebody_is_struck)
        if not any(victim.struck_at for victim in self.pair):
            self.missed.append(name)
            await asyncio.gather(*(victim.order() for victim in self.pair))
            await settle(self.here, [case], self.pair)
            return
        frozen, other = sorted(self.pair, key=lambda victim: victim.struck_at is None)
        await other.order()
        if other.struck_at:  # too, before it heard the order
            other.send(signal.SIGCONT)
        self.frozen.append(name)
        await settle(self.here, [case], [other])  # while the first still stands
        frozen.send(signal.SIGCONT)
        await frozen.end()  # when it has done all that it had begun
        await settle(self.here, [case], [other])
        self.risked[case.chat.id] = case.risked
        self.complaints += [
            f"stopped {name}: {complaint}" for complaint in await case.complaints(more_videos=int(name in _SENDING))
        ]
        self.pair = [other, await self._start()]

    async def end(self) -> None:
        for victim in self.pair:
            await victim.end()
            if not victim.has_stopped_well:
                self.complaints.append("SIGTERM did not end it well")
        self.complaints += await self.here.balance(self.risked)

    # ---

    def _case(self, *, risks: bool) -> Case:
        return Case(self.here, self.here.new_chat(), risks=risks)

    async def _start(self) -> Victim:
        port = free_port()
        victim = self.here.start(port=port)
        await victim.until(lambda: victim.is_up)
        self.balancer.roots.insert(0, f"http://127.0.0.1:{port}")
        return victim

    async def _somebody_is_struck(self) -> None:
        watches = [asyncio.create_task(victim.strike()) for victim in self.pair]
        try:
            await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for watch in watches:
                watch.cancel()
