"""Who may have another video: each quota by itself, their order, and the last place; on both engines."""

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import insert, select

from databases import Clock, insert_job, reload, until_waiting
from storage.database import Database
from storage.drafts import Drafts
from storage.job import CHAT_GONE, NOT_ALLOWED, OPEN, SUBMIT_UNKNOWN, TERMINAL, Job, State
from storage.ledger import Ledger
from storage.peers import Peers
from storage.quotas import Left, Limits, Quotas
from storage.schema import calls
from storage.schema import jobs as jobs_table

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADA, GROUP, CHANNEL = 7_000_000_007, -1_001_234_567_890, -1_009_876_543_210
NOBODY_ELSE = 99
HOUR_MS = 3_600_000
PENDING = OPEN - {State.COLLECTING}


async def draft(database: Database, *, user_id: int = ADA, chat_id: int | None = None) -> Job:
    """A complete draft, held."""
    return await insert_job(
        database,
        State.COLLECTING,
        user_id=user_id,
        chat_id=chat_id or user_id,
        claim="ours",
        photo_key="in/p.jpg",
        photo_accepted=1,
        voice_key="in/v.mp3",
    )


async def verdict(
    database: Database, limits: Limits, *, user_id: int = ADA, chat_id: int | None = None
) -> State | str | None:
    """What becomes of one draft more: `queued`, or the reason why not. The draft goes again."""
    job = await draft(database, user_id=user_id, chat_id=chat_id)
    job = await Drafts(database).enqueue(job, limits=limits)
    async with database.begin() as connection:
        await connection.execute(jobs_table.delete().where(jobs_table.c.id == job.id))
    return job.reason if job.state is State.FAILED else job.state


async def made(database: Database, *, user_id: int = ADA, chat_id: int | None = None, hours_ago: float = 1) -> Job:
    """A video of some hours ago."""
    queued_at = database.now() - round(hours_ago * HOUR_MS)
    return await insert_job(
        database, State.DELIVERED, user_id=user_id, chat_id=chat_id or user_id, queued_at=queued_at, paid=1
    )


async def call(database: Database, job_id: int, *, outcome: str | None = None, hours_ago: float = 1) -> None:
    created_at = database.now() - round(hours_ago * HOUR_MS)
    values = {"token": f"token {job_id} {outcome} {created_at}", "job_id": job_id, "created_at": created_at}
    async with database.begin() as connection:
        await connection.execute(insert(calls).values(**values, outcome=outcome, closed_at=created_at))


# --- too many at one time ---


async def test_who_has_enough_under_way_waits(database: Database) -> None:
    """Whatever state those are in; drafts and what has ended don't count, nor do others' jobs."""
    for state in TERMINAL | {State.COLLECTING}:
        await insert_job(database, state, user_id=ADA)
    for _ in range(2):
        await insert_job(database, State.QUEUED, user_id=NOBODY_ELSE)
    for number, state in enumerate(sorted(PENDING), start=1):
        await insert_job(database, state, user_id=ADA, chat_id=GROUP)
        assert await verdict(database, Limits(pending=number)) == "too_many_pending", state
        assert await verdict(database, Limits(pending=number + 1)) == State.QUEUED, state
    assert await verdict(database, Limits(pending=0)) == State.QUEUED


@pytest.mark.parametrize(
    ("state", "reason"),
    [(State.DELIVERING, CHAT_GONE), (State.DELIVERING, NOT_ALLOWED), (State.SUBMITTING, SUBMIT_UNKNOWN)],
)
async def test_what_waits_for_somebody_keeps_nobody_from_the_next(
    state: State, reason: str, database: Database
) -> None:
    """A group that has removed us may never have us back, and a question may never be answered."""
    await insert_job(database, state, user_id=ADA, chat_id=GROUP, reason=reason)
    assert await verdict(database, Limits(pending=1)) == State.QUEUED


async def test_a_refused_draft_has_ended(database: Database) -> None:
    await insert_job(database, State.QUEUED, user_id=ADA)
    refused = await Drafts(database).enqueue(await draft(database), limits=Limits(pending=1))
    assert (refused.state, refused.reason, refused.paid) == (State.FAILED, "too_many_pending", 0)
    assert (refused.due_at, refused.claim, refused.queued_at) == (None, None, None)
    assert refused == await reload(database, refused)


# --- the day's videos ---


async def test_a_persons_day_counts_wherever_the_videos_were_made(database: Database) -> None:
    await made(database)
    await made(database, chat_id=GROUP)
    await made(database, user_id=NOBODY_ELSE, chat_id=GROUP)
    for chat_id in (ADA, GROUP):
        assert await verdict(database, Limits(daily=2), chat_id=chat_id) == "daily_limit"
        assert await verdict(database, Limits(daily=3), chat_id=chat_id) == State.QUEUED


async def test_the_day_rolls(database: Database, clock: Clock) -> None:
    await made(database, hours_ago=0)
    await made(database, hours_ago=0, user_id=NOBODY_ELSE, chat_id=GROUP)
    clock.turn(seconds=24 * 3600 - 0.001)
    assert await verdict(database, Limits(daily=1)) == "daily_limit"
    assert await verdict(database, Limits(daily_chat=1), chat_id=GROUP) == "daily_limit_chat"
    clock.turn(seconds=0.001)
    assert await verdict(database, Limits(daily=1)) == State.QUEUED
    assert await verdict(database, Limits(daily_chat=1), chat_id=GROUP) == State.QUEUED


async def test_a_groups_day_counts_whoever_made_the_videos(database: Database) -> None:
    await made(database, chat_id=GROUP)
    await made(database, user_id=CHANNEL, chat_id=GROUP)
    await made(database, chat_id=GROUP - 1)
    assert await verdict(database, Limits(daily_chat=2), user_id=NOBODY_ELSE, chat_id=GROUP) == "daily_limit_chat"
    assert await verdict(database, Limits(daily_chat=3), user_id=NOBODY_ELSE, chat_id=GROUP) == State.QUEUED


async def test_what_came_to_nothing_for_free_counts_for_no_group_either(database: Database) -> None:
    for state in (State.FAILED, State.CANCELLED):
        await insert_job(database, state, chat_id=GROUP, queued_at=database.now())
    assert await verdict(database, Limits(daily_chat=1), chat_id=GROUP) == State.QUEUED
    await insert_job(database, State.FAILED, chat_id=GROUP, queued_at=database.now(), paid=1)
    assert await verdict(database, Limits(daily_chat=1), chat_id=GROUP) == "daily_limit_chat"


async def test_a_groups_quota_is_nothing_to_private_chats(database: Database) -> None:
    await made(database)
    assert await verdict(database, Limits(daily_chat=1)) == State.QUEUED


async def test_an_identity_that_several_share_has_only_its_groups_quota(database: Database) -> None:
    """An anonymous admin speaks as the group itself, a channel as the channel."""
    for user_id in (GROUP, CHANNEL):
        await made(database, user_id=user_id, chat_id=GROUP)
        await insert_job(database, State.QUEUED, user_id=user_id, chat_id=GROUP)
        await Peers(database).choose(user_id, daily_limit=1)
    await Peers(database).choose(GROUP, daily_limit=0)
    for user_id in (GROUP, CHANNEL):
        personal = Limits(daily=1, pending=1, daily_chat=1)
        assert await verdict(database, personal, user_id=user_id, chat_id=GROUP) == State.QUEUED
    await Peers(database).choose(GROUP, daily_limit=2)
    assert await verdict(database, Limits(), user_id=CHANNEL, chat_id=GROUP) == "daily_limit_chat"


@pytest.mark.parametrize(("usual", "chosen", "refused"), [(9, 1, True), (0, 1, True), (1, 9, False), (1, 0, False)])
async def test_what_the_operator_chose_for_somebody_holds(
    database: Database, usual: int, chosen: int, *, refused: bool
) -> None:
    await made(database, chat_id=GROUP)
    await Peers(database).choose(ADA, daily_limit=chosen)
    person = await verdict(database, Limits(daily=usual), chat_id=GROUP)
    await Peers(database).choose(ADA, daily_limit=0)
    await Peers(database).choose(GROUP, daily_limit=chosen)
    group = await verdict(database, Limits(daily_chat=usual), chat_id=GROUP)
    assert (person, group) == (("daily_limit", "daily_limit_chat") if refused else (State.QUEUED, State.QUEUED))


async def test_other_choices_leave_the_usual_limit(database: Database) -> None:
    await made(database)
    await Peers(database).choose(ADA, language="fa")
    await Peers(database).choose(NOBODY_ELSE, daily_limit=0)
    assert await verdict(database, Limits(daily=1)) == "daily_limit"


# --- the money of all ---


async def test_calls_count_as_spent_for_a_day_unless_they_surely_cost_nothing(database: Database, clock: Clock) -> None:
    async def spent() -> int:
        return await Ledger(database).spent_today()

    delivered = await insert_job(database, State.DELIVERED, paid=1)
    for outcome in ("accepted", "unknown", None):
        await call(database, delivered.id, outcome=outcome)
    assert await spent() == 3
    await call(database, delivered.id, outcome="refused")
    await call(database, delivered.id, outcome="accepted", hours_ago=24)
    assert await spent() == 3, "refused, or too long ago"
    failed = await insert_job(database, State.FAILED)
    await call(database, failed.id, outcome="accepted")
    assert await spent() == 3, "AKOOL could make no video, and took nothing for it"
    charged = await insert_job(database, State.FAILED, paid=1)
    await call(database, charged.id, outcome="unknown")
    cancelled = await insert_job(database, State.CANCELLED)
    await call(database, cancelled.id, outcome="unknown")
    assert await spent() == 5
    await call(database, 12345, outcome="unknown")
    assert await spent() == 6, "its job was forgotten"
    clock.turn(seconds=23 * 3600)
    assert await spent() == 0


async def test_what_waits_counts_for_who_would_join_it(database: Database) -> None:
    await call(database, (await made(database)).id, outcome="accepted")
    await insert_job(database, State.QUEUED, user_id=NOBODY_ELSE)
    assert await verdict(database, Limits(spend=2)) == "spend_limit"
    assert await verdict(database, Limits(spend=3)) == State.QUEUED
    assert await verdict(database, Limits(spend=None)) == State.QUEUED
    assert await verdict(database, Limits(spend=2), user_id=CHANNEL, chat_id=GROUP) == "spend_limit", "whoever asks"


# --- several at once ---


async def test_the_first_quota_that_is_used_up_is_the_reason(database: Database) -> None:
    await made(database, chat_id=GROUP)
    await insert_job(database, State.QUEUED, user_id=ADA, chat_id=GROUP, queued_at=database.now())
    limits = Limits(daily=1, daily_chat=1, pending=1, spend=1)
    for reason, looser in (
        ("too_many_pending", replace(limits, pending=0)),
        ("daily_limit", replace(limits, pending=0, daily=0)),
        ("daily_limit_chat", Limits(spend=1)),
        ("spend_limit", Limits()),
    ):
        assert await verdict(database, limits, chat_id=GROUP) == reason
        limits = looser
    assert await verdict(database, limits, chat_id=GROUP) == State.QUEUED


LAST_PLACES = [
    (Limits(pending=1), (ADA, ADA), (ADA, ADA)),
    (Limits(daily=1), (ADA, ADA), (ADA, GROUP)),
    (Limits(daily_chat=1), (ADA, NOBODY_ELSE), (GROUP, GROUP)),
    (Limits(spend=1), (ADA, NOBODY_ELSE), (ADA, NOBODY_ELSE)),
    (Limits(daily=9, daily_chat=9, pending=9, spend=1), (ADA, CHANNEL), (GROUP, GROUP)),
]
NAMES = ["pending", "daily", "chat", "spend", "all"]


@pytest.mark.parametrize(("limits", "user_ids", "chat_ids"), LAST_PLACES, ids=NAMES)
async def test_the_last_place_is_given_once(
    database: Database, replica: Database, limits: Limits, user_ids: tuple[int, int], chat_ids: tuple[int, int]
) -> None:
    asking = [
        (where, await draft(database, user_id=user_id, chat_id=chat_id))
        for where in (database, replica)
        for user_id, chat_id in zip(user_ids, chat_ids, strict=True)
    ]
    queued = await asyncio.gather(*(Drafts(where).enqueue(job, limits=limits) for where, job in asking))
    assert sorted(job.state for job in queued) == [State.FAILED] * 3 + [State.QUEUED]


@pytest.mark.asyncio(loop_scope="function")
@pytest.mark.parametrize(("limits", "user_ids", "chat_ids"), LAST_PLACES, ids=NAMES)
async def test_two_that_ask_in_the_same_moment_do_not_share_the_last_place(
    postgres: Database, limits: Limits, user_ids: tuple[int, int], chat_ids: tuple[int, int]
) -> None:
    """A third holds their rows until both stand before them, or one waits for the other."""
    asking = [
        await draft(postgres, user_id=user_id, chat_id=chat_id)
        for user_id, chat_id in zip(user_ids, chat_ids, strict=True)
    ]
    async with postgres.begin() as connection:
        await connection.execute(select(jobs_table).with_for_update())
        enqueueing = [asyncio.create_task(Drafts(postgres).enqueue(job, limits=limits)) for job in asking]
        await until_waiting(postgres, sessions=2)
    assert sorted(job.state for job in await asyncio.gather(*enqueueing)) == [State.FAILED, State.QUEUED]


@pytest.mark.asyncio(loop_scope="function")
async def test_who_has_no_limit_waits_for_nobody(postgres: Database) -> None:
    """Two of one group, one of whom is held up, where neither person, group nor spending is limited."""
    held_up, free = await draft(postgres, chat_id=GROUP), await draft(postgres, chat_id=GROUP)
    async with postgres.begin() as connection:
        await connection.execute(select(jobs_table).where(jobs_table.c.id == held_up.id).with_for_update())
        waiting = asyncio.create_task(Drafts(postgres).enqueue(held_up, limits=Limits()))
        await until_waiting(postgres, sessions=1)
        async with asyncio.timeout(10):
            assert (await Drafts(postgres).enqueue(free, limits=Limits())).state is State.QUEUED
    assert (await waiting).state is State.QUEUED


@pytest.mark.asyncio(loop_scope="function")
async def test_a_channel_and_the_group_it_speaks_in_do_not_lock_each_other_out(postgres: Database) -> None:
    """Each speaks in the other's chat: who took a lock for every id would take the two in opposite orders."""
    pairs = ((CHANNEL, GROUP), (GROUP, CHANNEL)) * 3
    asking = [await draft(postgres, user_id=user_id, chat_id=chat_id) for user_id, chat_id in pairs]
    limits = Limits(daily=9, daily_chat=9, pending=9, spend=99)
    async with postgres.begin() as connection:
        await connection.execute(select(jobs_table).with_for_update())
        enqueueing = [asyncio.create_task(Drafts(postgres).enqueue(job, limits=limits)) for job in asking]
        await until_waiting(postgres, sessions=len(pairs))
    assert {job.state for job in await asyncio.gather(*enqueueing)} == {State.QUEUED}


# --- what is left ---


async def test_what_is_left_is_known(database: Database) -> None:
    await made(database, chat_id=GROUP)
    await made(database)
    await made(database, user_id=NOBODY_ELSE, chat_id=GROUP)
    await made(database, user_id=NOBODY_ELSE, chat_id=GROUP)
    quotas, limits = Quotas(database), Limits(daily=20, daily_chat=50, pending=1, spend=1)
    assert await quotas.left(GROUP, ADA, limits) == Left(daily=18, daily_of=20, chat=47, chat_of=50)
    assert await quotas.left(ADA, ADA, limits) == Left(daily=18, daily_of=20, chat=None, chat_of=None)
    assert await quotas.left(GROUP, CHANNEL, limits) == Left(daily=None, daily_of=None, chat=47, chat_of=50)
    assert await quotas.left(GROUP, ADA, Limits()) == Left(daily=None, daily_of=None, chat=None, chat_of=None)


async def test_what_is_left_follows_the_operators_choice_and_is_never_less_than_nothing(database: Database) -> None:
    for _ in range(3):
        await made(database, chat_id=GROUP)
    await Peers(database).choose(ADA, daily_limit=2)
    await Peers(database).choose(GROUP, daily_limit=0)
    left = await Quotas(database).left(GROUP, ADA, Limits(daily=20, daily_chat=50))
    assert left == Left(daily=0, daily_of=2, chat=None, chat_of=None)
