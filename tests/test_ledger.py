"""The ledger of create calls: what becomes of a call that may have been made, on both engines."""

import asyncio

import pytest
from sqlalchemy import select

from bot import texts
from databases import Clock, insert_job, reload, until_waiting
from storage.database import Database
from storage.job import FREE, OPEN, SUBMIT_UNKNOWN, Job, State
from storage.jobs import Jobs, Overtaken
from storage.ledger import Arrival, Call, Ledger
from storage.schema import calls

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEASE_MS = 60_000
ASK_AT = 42


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


async def admit(ledger: Ledger, *, at_akool: int = 9, most: int = 9) -> dict[int, str]:
    """The admitted jobs' ids, in their order, and their tokens."""
    admitted = await ledger.admit(at_akool=at_akool, lease_ms=LEASE_MS, most=most)
    return {job.id: token for job, token in admitted}


async def submit(database: Database) -> tuple[Job, str]:
    """A job of user 7 that is being submitted, held, and its call's token."""
    await insert_job(database, State.QUEUED)
    [admitted] = await Ledger(database).admit(at_akool=99, lease_ms=LEASE_MS, most=1)
    return admitted


async def arrive(ledger: Ledger, token: str, akool_id: str = "video", *, ask_at: int = ASK_AT) -> Job:
    """The job that an `_id` has come home to."""
    arrival = await ledger.arrived(token, akool_id, ask_at=ask_at)
    assert arrival is not None
    assert arrival.job is not None
    return arrival.job


async def call_of(ledger: Ledger, token: str) -> Call:
    call = await ledger.get(token)
    assert call is not None
    return call


# --- the answer and the callback ---


@pytest.mark.parametrize("state", [State.SUBMITTING, State.QUEUED])
async def test_the_answer_brings_the_id_home(database: Database, ledger: Ledger, state: State) -> None:
    """Also to a job that went back into the queue, so that nothing is paid for twice; and as often as it is told."""
    job, token = await submit(database)
    if state is State.QUEUED:
        await ledger.close(job, outcome="unknown", state=State.QUEUED, claim=None)
    rendering = await arrive(ledger, token)
    assert (rendering.state, rendering.akool_id, rendering.paid, rendering.claim, rendering.due_at) == (
        State.RENDERING, "video", 1, None, ASK_AT,
    )  # fmt: skip
    assert await arrive(ledger, token, ask_at=99) == rendering == await reload(database, job)
    call = await call_of(ledger, token)
    assert (call.akool_id, call.outcome) == ("video", "accepted")
    assert await admit(ledger) == {}


async def test_answer_and_callback_at_once_are_one_arrival(database: Database, replica: Database) -> None:
    job, token = await submit(database)
    tellers = (Ledger(database), Ledger(replica)) * 3
    arrivals = await asyncio.gather(*(arrive(ledger, token) for ledger in tellers))
    assert {arrival.state for arrival in arrivals} == {State.RENDERING}
    story = [state for state, _ in (await reload(database, job)).story]
    assert story == [State.QUEUED, State.SUBMITTING, State.RENDERING]


async def test_a_callback_before_the_answer_takes_the_job_from_its_submitter(
    database: Database, ledger: Ledger, jobs: Jobs
) -> None:
    """Who then reads a time-out where AKOOL's yes was lost writes nothing over it."""
    job, token = await submit(database)
    await ledger.arrived(token, "video", ask_at=ASK_AT)
    with pytest.raises(Overtaken):
        await jobs.release(job, due_at=0)
    with pytest.raises(Overtaken):
        await ledger.close(job, outcome="refused", state=State.QUEUED)
    assert (await call_of(ledger, token)).closed_at is None, "taken back as a whole"


async def test_a_job_that_has_ended_stays_so_but_its_money_is_in_the_book(database: Database, ledger: Ledger) -> None:
    job, token = await submit(database)
    ended = await ledger.close(job, outcome="unknown", state=State.FAILED, reason=SUBMIT_UNKNOWN)
    told = await arrive(ledger, token)
    assert (told.state, told.reason, told.due_at) == (State.FAILED, SUBMIT_UNKNOWN, None)
    assert told.story == ended.story
    call = await call_of(ledger, token)
    assert (call.akool_id, call.outcome) == ("video", "accepted")


async def test_anybody_may_cancel_what_is_still_in_a_state_that_allows_it(database: Database, ledger: Ledger) -> None:
    job = await insert_job(database, State.RENDERING, claim="a worker's")
    assert await ledger.cancel(job.id, states=FREE) is None
    cancelled = await ledger.cancel(job.id, states=OPEN)
    assert cancelled is not None
    assert (cancelled.state, cancelled.claim, cancelled.due_at) == (State.CANCELLED, None, None)
    assert await ledger.cancel(job.id, states=OPEN) is None, "once is enough"


async def test_a_job_cancelled_while_it_was_submitted_closes_its_call_and_is_marked_as_paid(
    database: Database, ledger: Ledger
) -> None:
    """Else who cancels quickly enough goes on beyond the daily limit."""
    job, token = await submit(database)
    await ledger.cancel(job.id, states=OPEN)
    [call] = await ledger.of_job(job.id)
    assert (call.outcome, call.closed_at) == ("unknown", database.now())

    told = await arrive(ledger, token)
    assert (told.state, told.paid) == (State.CANCELLED, 1)
    [call] = await ledger.of_job(job.id)
    assert (call.outcome, call.akool_id) == ("accepted", "video")


async def test_a_call_is_never_given_to_another_video(database: Database, ledger: Ledger) -> None:
    job, token = await submit(database)
    assert await ledger.arrived("unknown token", "video", ask_at=ASK_AT) is None
    assert (await reload(database, job)).state is State.SUBMITTING
    await ledger.arrived(token, "video", ask_at=ASK_AT)
    assert await ledger.arrived(token, "another video", ask_at=ASK_AT) is None
    assert (await reload(database, job)).akool_id == "video"
    assert (await call_of(ledger, token)).akool_id == "video"


async def test_a_callback_is_heard_once_for_each_thing_that_it_tells(database: Database, ledger: Ledger) -> None:
    _, token = await submit(database)
    assert [await ledger.heard(token, rank=rank) for rank in (1, 1, 2, 1, 2)] == [True, False, True, False, False]
    assert not await ledger.heard("unknown token", rank=1)


# --- the end of a call ---


async def test_a_refused_call_is_closed_and_the_job_tried_again(
    database: Database, ledger: Ledger, clock: Clock
) -> None:
    job, token = await submit(database)
    clock.turn(seconds=1)
    queued = await ledger.close(job, outcome="refused", state=State.QUEUED, claim=None, due_at=clock(), attempts=1)
    assert (queued.state, queued.claim, queued.attempts) == (State.QUEUED, None, 1)
    call = await call_of(ledger, token)
    assert (call.outcome, call.closed_at) == ("refused", clock())
    again = await admit(ledger)
    assert list(again) == [job.id]
    assert [call.token for call in await ledger.of_job(job.id)] == [token, again[job.id]]


async def test_an_accepted_call_stays_accepted_whatever_becomes_of_its_job(database: Database, ledger: Ledger) -> None:
    _, token = await submit(database)
    rendering = await arrive(ledger, token)
    await ledger.close(rendering, outcome="unknown", state=State.FAILED, reason="render_timeout")
    call = await call_of(ledger, token)
    assert (call.outcome, call.closed_at) == ("accepted", database.now())


async def test_only_the_owner_decides_and_only_when_asked(database: Database, ledger: Ledger, jobs: Jobs) -> None:
    job, token = await submit(database)
    decisions = (ledger.risk_again, ledger.leave)
    assert [await decide(job.id, user_id=7) for decide in decisions] == [False, False], "nobody was asked"
    await jobs.release(job, due_at=9, reason=SUBMIT_UNKNOWN)
    assert [await decide(job.id, user_id=8) for decide in decisions] == [False, False], "a stranger"
    assert (await call_of(ledger, token)).closed_at is None


async def test_the_owner_may_risk_paying_again(database: Database, ledger: Ledger, jobs: Jobs) -> None:
    """... and only once for each question; the first call's late answer still saves the second one's money."""
    job, token = await submit(database)
    await jobs.release(job, due_at=9, reason=SUBMIT_UNKNOWN)
    pressed = await asyncio.gather(*(ledger.risk_again(job.id, user_id=7) for _ in range(3)))
    assert sorted(pressed) == [False, False, True]
    queued = await reload(database, job)
    assert (queued.state, queued.reason, queued.claim) == (State.QUEUED, None, None)
    call = await call_of(ledger, token)
    assert (call.outcome, call.closed_at) == ("unknown", database.now())
    await ledger.arrived(token, "video", ask_at=ASK_AT)
    assert await admit(ledger) == {}


async def test_a_second_try_has_a_call_of_its_own(database: Database, ledger: Ledger, jobs: Jobs) -> None:
    """Both may be charged then, and the ledger knows both; the job goes with the first that is known."""
    job, first = await submit(database)
    await jobs.release(job, due_at=9, reason=SUBMIT_UNKNOWN)
    await ledger.risk_again(job.id, user_id=7)
    second = (await admit(ledger))[job.id]
    assert second != first
    for token, video in ((first, "one"), (second, "two")):
        await ledger.arrived(token, video, ask_at=ASK_AT)
    assert (await reload(database, job)).akool_id == "one"
    assert {call.akool_id for call in await ledger.of_job(job.id)} == {"one", "two"}


@pytest.mark.parametrize("late", [False, True])
async def test_a_second_try_that_costs_nothing_takes_nothing_back_of_what_the_first_may_have_cost(
    *, late: bool, database: Database, ledger: Ledger, jobs: Jobs
) -> None:
    """Whether the first call's answer comes at last, or never; so the limits go on counting it."""
    job, first = await submit(database)
    await jobs.release(job, due_at=9, reason=SUBMIT_UNKNOWN, paid=1)
    await ledger.risk_again(job.id, user_id=7)
    await ledger.arrived((await admit(ledger))[job.id], "two", ask_at=ASK_AT)
    if late:
        await ledger.arrived(first, "one", ask_at=ASK_AT)
    failed = await ledger.close(
        await reload(database, job), outcome="accepted", state=State.FAILED, reason="render_failed", charged=False
    )
    assert failed.paid == 1
    assert await ledger.spent_today() >= 1


@pytest.mark.parametrize("charged", [False, True])
async def test_an_only_try_costs_what_akool_says(*, charged: bool, database: Database, ledger: Ledger) -> None:
    job, token = await submit(database)
    await ledger.arrived(token, "video", ask_at=ASK_AT)
    rendering = await reload(database, job)
    failed = await ledger.close(rendering, outcome="accepted", state=State.FAILED, charged=charged)
    assert (failed.paid, await ledger.spent_today()) == (charged, charged)


async def test_who_cancels_hears_whether_it_may_have_cost_something(
    database: Database, ledger: Ledger, jobs: Jobs
) -> None:
    submitted, _ = await submit(database)
    risked, _ = await submit(database)
    await jobs.release(risked, due_at=9, reason=SUBMIT_UNKNOWN, paid=1)
    await ledger.risk_again(risked.id, user_id=7)
    untried = await insert_job(database, State.QUEUED)
    cancelled = [await ledger.cancel(job.id, states=OPEN) for job in (untried, risked, submitted)]

    assert [texts.cancelled(job) for job in cancelled if job] == [
        texts.CANCELLED,
        texts.CANCELLED_PAID,
        texts.CANCELLED_PAID,
    ]


async def test_the_owner_may_leave_it(database: Database, ledger: Ledger, jobs: Jobs) -> None:
    job, token = await submit(database)
    await jobs.release(job, due_at=9, reason=SUBMIT_UNKNOWN)
    assert await ledger.leave(job.id, user_id=7)
    left = await reload(database, job)
    assert (left.state, left.reason) == (State.FAILED, SUBMIT_UNKNOWN)
    assert (await call_of(ledger, token)).outcome == "unknown"
    assert not await ledger.leave(job.id, user_id=7)


@pytest.mark.asyncio(loop_scope="function")
async def test_an_arrival_and_a_decision_at_once_do_not_lock_each_other_out(postgres: Database) -> None:
    """A third holds the call's row until both stand before it, so that they meet every time."""
    job, token = await submit(postgres)
    ledger = Ledger(postgres)
    async with postgres.begin() as connection:
        await connection.execute(select(calls).with_for_update())
        arrival = asyncio.create_task(ledger.arrived(token, "video", ask_at=ASK_AT))
        await until_waiting(postgres, sessions=1)
        closing = asyncio.create_task(ledger.close(job, outcome="refused", state=State.QUEUED))
        await until_waiting(postgres, sessions=2)
    outcomes = await asyncio.gather(arrival, closing, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Arrival, Overtaken]
