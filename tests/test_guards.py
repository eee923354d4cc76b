"""Each guard against losing or paying twice, taken out: then the simulation's invariants must object.

A mutant is a patch of our own code, which no other test makes. It is installed for one block only, and the same plans
without it pass. So these tests show that the others can fail, and that no guard is there for nothing.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import ColumnElement, insert, text, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

import storage.drafts
import storage.jobs
import storage.ledger
import storage.updates
from bot.intake import Poller
from bot.pipeline import Pipeline
from bot.sandbox.stand_in import Call
from plans import hooks_on_the_way, tell, universe
from simulated_hooks import Fault, Hook, Trouble
from simulation import World
from storage.job import Job, State
from storage.ledger import Ledger
from storage.schema import calls, jobs, updates
from storage.updates import Updates
from universe import Universe

__all__ = ["universe"]

Story = Callable[[World], Awaitable[list[str]]]
_CREATE = "createbytalkingphoto"


@contextmanager
def mutant(*changes: tuple[object, str, object]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, change in changes:
            patch.setattr(owner, name, change)
        yield


def place(universe: Universe, name: str, *, last: bool = False) -> int:
    """The number of the first or last hook with that name, where nothing goes wrong before it."""
    hooks: Sequence[Hook] = universe.run(hooks_on_the_way)
    found = [number for number, hook in enumerate(hooks) if hook.name == name]
    return found[-1 if last else 0]


# --- intent ---


async def submit_once_more(self: Pipeline, job: Job) -> None:
    """What meets a job in `submitting` makes its call, instead of waiting for the answer to the first."""
    await self.submit(job, (await self.ledger.of_job(job.id))[-1].token)


def test_a_call_that_may_have_been_made_is_not_repeated(universe: Universe) -> None:
    """Killed between AKOOL's yes and our note, a worker that called again would pay twice."""
    plan = [Fault(Trouble.CRASH, place(universe, f"after {_CREATE}"))]
    assert not universe.run(tell, plan)
    with mutant((Pipeline, "await_answer", submit_once_more)):
        assert any("repeated 2 times" in sentence for sentence in universe.run(tell, plan))


async def admit_off_the_books(
    _self: Ledger, connection: AsyncConnection, job_id: int, now: int, lease_ms: int
) -> tuple[Job, str] | None:
    """The state changes, but no call is written down."""
    claimed = {"claim": secrets.token_hex(8), "due_at": now + lease_ms, "rung": 0, "submitted_at": now}
    submitting = storage.jobs.entered(State.SUBMITTING, now) | claimed
    job = await storage.jobs.change(connection, jobs.c.id == job_id, submitting)
    return (job, secrets.token_urlsafe(24)) if job else None


def test_a_call_is_written_down_before_it_is_made(universe: Universe) -> None:
    """A call without its ledger row is money that no book knows of, even where no fault happens."""
    assert not universe.run(tell)
    with mutant((Ledger, "_intend", admit_off_the_books)):
        assert any("not in the ledger" in sentence for sentence in universe.run(tell))


# --- fencing ---


def held_by_anyone(job: Job) -> ColumnElement[bool]:
    """The guard without the claim: whoever read the state may write."""
    return (jobs.c.id == job.id) & (jobs.c.state == job.state)


_WITHOUT_FENCING = tuple((module, "held", held_by_anyone) for module in (storage.jobs, storage.ledger, storage.drafts))


async def two_calls_cross(world: World) -> list[str]:
    """AKOOL takes the first call that it sees, but its answer is lost; the second it refuses."""
    world.akool.callbacks = "never"
    world.akool.drop(_CREATE, before=False)
    world.akool.fail(_CREATE, code=1005)
    return await tell(world)


def test_a_zombie_can_not_touch_what_another_has_taken_over(universe: Universe) -> None:
    """Frozen right before its call, it makes it while another's is open; its refusal must not close that one."""
    at = place(universe, f"before {_CREATE}")
    freeze, crash = Fault(Trouble.FREEZE, at, thaws_after=15), Fault(Trouble.CRASH, at)
    settings = {"akool_render_timeout_seconds": 30}
    assert not universe.run(two_calls_cross, [freeze], **settings)
    with mutant(*_WITHOUT_FENCING):
        assert any("was paid 2 times" in sentence for sentence in universe.run(two_calls_cross, [freeze], **settings))
        assert not universe.run(two_calls_cross, [crash], **settings), "only a freeze shows what fencing is for"


# --- one open call per job ---


class _AdmitsTwice:
    """An admission that lets its first job in twice, in one transaction."""

    def __init__(self) -> None:
        self.refused = False
        self._more: list[tuple[Job, str]] | None = None
        self._intend, self._admit = Ledger._intend, Ledger.admit

    async def intend(
        self, ledger: Ledger, connection: AsyncConnection, job_id: int, now: int, lease_ms: int
    ) -> tuple[Job, str] | None:
        admitted = await self._intend(ledger, connection, job_id, now, lease_ms)
        if admitted is not None and self._more is None:
            job, token = admitted[0], secrets.token_urlsafe(24)
            self._more = [(job, token)]
            self.refused = True
            await connection.execute(insert(calls).values(token=token, job_id=job_id, created_at=now))
            self.refused = False
        return admitted

    async def admit(self, ledger: Ledger, **options: Any) -> Sequence[tuple[Job, str]]:
        admitted = await self._admit(ledger, **options)
        more, self._more = self._more or [], [] if self._more is not None else None
        return [*admitted, *more]

    def installed(self) -> Any:
        async def intend(ledger: Ledger, *arguments: Any) -> tuple[Job, str] | None:
            return await self.intend(ledger, *arguments)

        async def admit(ledger: Ledger, **options: Any) -> Sequence[tuple[Job, str]]:
            return await self.admit(ledger, **options)

        return mutant((Ledger, "_intend", intend), (Ledger, "admit", admit))


async def without_the_index(world: World) -> list[str]:
    connection = world.connection
    async with connection.begin():
        await connection.execute(text("DROP INDEX calls_open"))
    try:
        return await tell(world)
    finally:
        async with connection.begin():
            await connection.execute(text("DELETE FROM calls"))
            await connection.run_sync(next(index for index in calls.indexes if index.name == "calls_open").create)


def test_the_database_refuses_a_second_open_call(universe: Universe) -> None:
    """Whatever the code forgets, the index remembers: a job that is admitted twice is not paid twice."""
    with (twice := _AdmitsTwice()).installed():
        assert not universe.run(tell)
    assert twice.refused
    with _AdmitsTwice().installed():
        assert any("was paid 2 times" in sentence for sentence in universe.run(without_the_index))
    assert not universe.run(without_the_index)


# --- updates ---


async def acknowledge_before_storing(self: Poller) -> None:
    """The offset moves as soon as the updates stand in our memory."""
    offset = {} if self._offset is None else {"offset": self._offset}
    allowed, url = ["message", "callback_query", "my_chat_member"], f"{self._root}/getUpdates"
    answer = await self._http.post(url, json={"timeout": 50, "allowed_updates": allowed, **offset}, timeout=65)
    batch = answer.json()["result"]
    if batch:
        self._offset = batch[-1]["update_id"] + 1
        await self._http.post(url, json={"offset": self._offset, "timeout": 0})
        await self._intake.store(batch)


def test_an_update_is_acknowledged_after_it_is_stored(universe: Universe) -> None:
    """Killed right before it stores what it has acknowledged, a poller would lose it."""
    plan = [Fault(Trouble.CRASH, place(universe, "before the commit of Updates.store", last=True))]
    assert not universe.run(tell, plan)
    with mutant((Poller, "_poll", acknowledge_before_storing)):
        assert any("was not handled: lost" in sentence for sentence in universe.run(tell, plan))


async def always_new(connection: AsyncConnection, update_id: int, *, error: str | None = None) -> bool:
    """Marks an update as handled, and never says that it was so before."""
    handled = {"due_at": None, "claim": None, "error": error}
    await connection.execute(update(updates).where(updates.c.update_id == update_id).values(**handled))
    return True


def test_an_update_is_handled_once(universe: Universe) -> None:
    """Frozen right before it notes a voice, a zombie would note it once more after another has done so."""
    plan = [Fault(Trouble.FREEZE, place(universe, "before Drafts.add", last=True))]
    assert not universe.run(tell, plan)
    with mutant((storage.drafts, "mark_handled", always_new), (storage.updates, "mark_handled", always_new)):
        assert any("it was handled twice" in sentence for sentence in universe.run(tell, plan))


async def store_anew(self: Updates, batch: Sequence[tuple[int, int, str]]) -> None:
    """What comes again is due again."""
    now = self._database.now()
    for update_id, lane, raw in batch:
        row = {"update_id": update_id, "lane": lane, "raw": raw, "received_at": now, "due_at": now}
        statement = sqlite_insert(updates).values(row)
        async with self._database.begin() as connection:
            await connection.execute(
                statement.on_conflict_do_update(index_elements=[updates.c.update_id], set_={"due_at": now, "raw": raw})
            )


async def unacknowledged(world: World) -> list[str]:
    """Telegram does not hear that the voice's update is acknowledged, until the bot starts anew."""

    def acknowledges_the_voice(call: Call) -> bool:
        return not world.struck and call.parameters.get("offset", 0) >= world.first_update + 2

    world.telegram.fail("getUpdates", 502, times=50, when=acknowledges_the_voice)
    return await tell(world)


def test_an_update_that_comes_again_is_left_alone(universe: Universe) -> None:
    """Killed after it has handled what it could not acknowledge, a poller gets it once more."""
    plan = [Fault(Trouble.CRASH, place(universe, "after Drafts.enqueue"))]
    assert not universe.run(unacknowledged, plan)
    with mutant((Updates, "store", store_anew)):
        assert any("it was handled twice" in sentence for sentence in universe.run(unacknowledged, plan))
