"""Forgetting a person, and whoever comes too late for one of their jobs; on both engines."""

import asyncio

import pytest
from sqlalchemy import select, update

from databases import Clock, insert_job, reload, until_waiting
from storage.database import Database
from storage.drafts import Drafts, Half, Kind
from storage.forgetting import Forgetting
from storage.job import OPEN, TERMINAL, Job, State
from storage.jobs import Jobs, Overtaken
from storage.ledger import Arrival, Ledger
from storage.peers import Access, Peer, Peers
from storage.quotas import Limits, Quotas
from storage.repeats import Repeats
from storage.schema import jobs as jobs_table
from storage.statuses import Statuses

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADA, BEN = 7, 8


@pytest.fixture
def forgetting(database: Database) -> Forgetting:
    return Forgetting(database)


async def submit(database: Database) -> tuple[Job, str]:
    """A job of Ada's that is being submitted, held, and its call's token."""
    await insert_job(database, State.QUEUED)
    [admitted] = await Ledger(database).admit(at_akool=99, lease_ms=60_000, most=1)
    return admitted


async def forget(database: Database) -> None:
    forgetting = Forgetting(database)
    await forgetting.cancel_all(ADA)
    await forgetting.delete(ADA)


async def test_open_jobs_end_whoever_has_them_and_all_are_returned_as_they_were(
    database: Database, forgetting: Forgetting, clock: Clock
) -> None:
    before = [
        await insert_job(database, state, chat_id=chat_id, claim="a worker's", status_message_id=5, incoming="[1]")
        for state in State
        for chat_id in (ADA, -5)
    ]
    others = await insert_job(database, State.RENDERING, user_id=BEN)
    clock.turn(seconds=1)
    assert await forgetting.cancel_all(ADA) == before
    for job in before:
        after = await reload(database, job)
        if job.state in TERMINAL:
            assert after == job
        else:
            assert (after.state, after.reason, after.claim, after.due_at, after.incoming) == (
                State.CANCELLED, "forgotten", None, None, "[]",
            )  # fmt: skip
            assert after.story == [*job.story, (State.CANCELLED, clock())]
    assert await reload(database, others) == others


async def test_their_calls_are_closed_and_others_stay_open(
    database: Database, forgetting: Forgetting, clock: Clock
) -> None:
    ledger = Ledger(database)
    await insert_job(database, State.QUEUED, user_id=BEN)
    [(bens, _)] = await ledger.admit(at_akool=99, lease_ms=60_000, most=1)
    unanswered, _ = await submit(database)
    rendering, token = await submit(database)
    await ledger.arrived(token, "video", ask_at=1)
    clock.turn(seconds=1)
    await forgetting.cancel_all(ADA)
    [call] = await ledger.of_job(unanswered.id)
    assert (call.outcome, call.closed_at) == ("unknown", clock())
    [call] = await ledger.of_job(rendering.id)
    assert (call.outcome, call.closed_at) == ("accepted", clock())
    [call] = await ledger.of_job(bens.id)
    assert (call.outcome, call.closed_at) == (None, None)


async def test_it_can_be_done_again(database: Database, forgetting: Forgetting, clock: Clock) -> None:
    """So that a process which dies in the midst of it leaves nothing behind."""
    job = await insert_job(database, State.QUEUED)
    await forgetting.cancel_all(ADA)
    ended = await reload(database, job)
    clock.turn(seconds=1)
    assert await forgetting.cancel_all(ADA) == [ended]
    assert await reload(database, job) == ended
    for _ in range(2):
        await forgetting.delete(ADA)
    assert await forgetting.cancel_all(ADA) == []


async def test_rows_that_ended_go_and_what_is_open_or_others_stays(database: Database, forgetting: Forgetting) -> None:
    ended = [await insert_job(database, state) for state in TERMINAL]
    stays = [await insert_job(database, state) for state in OPEN]
    stays += [await insert_job(database, state, user_id=BEN, chat_id=ADA) for state in TERMINAL]
    await forgetting.delete(ADA)
    assert sorted(job.id for job in await Jobs(database).list()) == sorted(job.id for job in stays)
    assert ended


async def test_what_a_person_chose_goes_and_the_operators_word_stays(
    database: Database, forgetting: Forgetting
) -> None:
    peers = Peers(database)
    await peers.choose(ADA, language="fa", is_round=True, access=Access.DENIED)
    await peers.choose(BEN, language="hi")
    await forgetting.delete(ADA)
    assert await peers.get(ADA, BEN) == [Peer(ADA, Access.DENIED), Peer(BEN, language="hi")]


async def test_the_money_stays_in_the_book(database: Database) -> None:
    """Else who forgets quickly enough spends beyond the limit."""
    job, token = await submit(database)
    await forget(database)
    ledger = Ledger(database)
    assert [call.token for call in await ledger.of_job(job.id)] == [token]
    assert await ledger.spent_today() == 1


# --- who comes too late ---


async def test_a_late_answer_is_taken_for_a_job_that_is_gone(database: Database) -> None:
    """Its call gets its name, as often as it is told; and what is not ours is told from what is gone."""
    job, token = await submit(database)
    await forget(database)
    ledger = Ledger(database)
    for _ in range(2):
        assert await ledger.arrived(token, "video", ask_at=1) == Arrival(None)
    assert await ledger.arrived(token, "another video", ask_at=1) is None
    assert await ledger.arrived("unknown token", "video", ask_at=1) is None
    [call] = await ledger.of_job(job.id)
    assert (call.akool_id, call.outcome) == ("video", "accepted")
    assert await ledger.heard(token, rank=1)
    assert await Jobs(database).list() == []


async def test_who_holds_a_job_that_is_gone_is_overtaken(database: Database) -> None:
    job, _ = await submit(database)
    draft = await insert_job(database, State.COLLECTING, claim="ours")
    await forget(database)
    jobs, drafts, ledger = Jobs(database), Drafts(database), Ledger(database)
    half = Half(Kind.PHOTO, 1, "file")
    for late in (
        jobs.extend(job, lease_ms=1),
        jobs.save(job, paid=1),
        jobs.advance(job, State.RENDERING),
        jobs.release(job, due_at=1),
        jobs.retry(job, due_at=1),
        ledger.close(job, outcome="refused", state=State.QUEUED),
        drafts.settle(draft, half, photo_key="in/p.jpg"),
        drafts.enqueue(draft, limits=Limits()),
    ):
        with pytest.raises(Overtaken):
            await late
    assert await drafts.refuse_all(draft, reason="no_face") is None
    assert await Jobs(database).list() == []


async def test_whoever_else_asks_about_a_job_that_is_gone_learns_that_it_is(database: Database) -> None:
    job, _ = await submit(database)
    await forget(database)
    jobs, ledger = Jobs(database), Ledger(database)
    assert await jobs.get(job.id) is None
    await jobs.ring(job.id, state=State.RENDERING)
    assert await ledger.cancel(job.id, states=OPEN) is None
    assert not await ledger.risk_again(job.id, user_id=ADA)
    assert not await ledger.leave(job.id, user_id=ADA)
    assert not await Repeats(database).again(job.id, user_id=ADA)
    assert not await Drafts(database).accept_photo(job.id, user_id=ADA)


async def test_a_status_that_was_said_meanwhile_is_not_kept(database: Database) -> None:
    """So that whoever said it takes it back."""
    await insert_job(database, State.QUEUED, status_at=database.now())
    [looked_at] = await Statuses(database).claim(1, lease_ms=60_000)
    await forget(database)
    kept = await Statuses(database).keep(looked_at, look_at=1, message_id=5, shown="words", shown_at=1)
    assert not kept


@pytest.mark.asyncio(loop_scope="function")
async def test_a_job_that_ends_in_the_same_moment_is_returned_as_it_ended(postgres: Database) -> None:
    """Its video is there: what is returned must know its key."""
    job = await insert_job(postgres, State.DELIVERING)
    delivered = {"state": State.DELIVERED, "video_key": "out/v.mp4", "due_at": None}
    async with postgres.begin() as connection:
        await connection.execute(update(jobs_table).where(jobs_table.c.id == job.id).values(**delivered))
        forgetting = asyncio.create_task(Forgetting(postgres).cancel_all(ADA))
        await until_waiting(postgres, sessions=1)
    [found] = await forgetting
    assert (found.state, found.video_key) == (State.DELIVERED, "out/v.mp4")
    assert (await reload(postgres, job)).state is State.DELIVERED


@pytest.mark.asyncio(loop_scope="function")
async def test_a_forgetting_and_an_arrival_at_once_do_not_lock_each_other_out(postgres: Database) -> None:
    """A third holds the job until both stand before it."""
    job, token = await submit(postgres)
    async with postgres.begin() as connection:
        await connection.execute(select(jobs_table).with_for_update())
        arrival = asyncio.create_task(Ledger(postgres).arrived(token, "video", ask_at=1))
        await until_waiting(postgres, sessions=1)
        forgetting = asyncio.create_task(Forgetting(postgres).cancel_all(ADA))
        await until_waiting(postgres, sessions=2)
    await asyncio.gather(arrival, forgetting)
    ended = await reload(postgres, job)
    assert (ended.state, ended.paid) == (State.CANCELLED, 1)
    [call] = await Ledger(postgres).of_job(job.id)
    assert (call.outcome, call.closed_at) == ("accepted", postgres.now())


async def test_who_has_everything_forgotten_gets_no_more_videos_by_that(database: Database, clock: Clock) -> None:
    """What counted against the daily limit goes on doing so, for the rest of its day."""
    limits = Limits(daily=3)
    await insert_job(database, State.DELIVERED, user_id=ADA, queued_at=clock(), paid=1)
    await insert_job(database, State.FAILED, user_id=ADA, queued_at=clock())
    await forget(database)
    assert (await Quotas(database).left(ADA, ADA, limits)).daily == 2
    assert (await Quotas(database).left(ADA * 10, ADA * 10, limits)).daily == 3
    clock.turn(seconds=24 * 3600)
    assert (await Quotas(database).left(ADA, ADA, limits)).daily == 3
