"""Which objects belong to a job, and what becomes of a job's chat; on both engines."""

import pytest

from databases import Clock, insert_job, reload
from storage.database import Database
from storage.job import CHAT_GONE, State
from storage.jobs import Jobs
from storage.peers import Peers
from storage.repeats import Repeats
from storage.retention import Retention

pytestmark = pytest.mark.asyncio(loop_scope="session")

HALVES = {"photo_key": "in/p.jpg", "photo_accepted": 1, "voice_key": "in/v.mp3", "voice_ms": 1000}


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


async def test_only_jobs_that_ended_long_ago_let_go(database: Database, clock: Clock) -> None:
    retention = Retention(database)
    old = await insert_job(database, State.DELIVERED, updated_at=clock() - 2000, **HALVES, video_key="out/a.mp4")
    new = await insert_job(database, State.DELIVERED, updated_at=clock(), photo_key="in/n.jpg")
    running = await insert_job(database, State.RENDERING, updated_at=clock() - 2000, photo_key="in/r.jpg")
    await retention.let_go(ended_before_ms=clock() - 1000)
    kept = await retention.orphans_among({"in/p.jpg", "in/v.mp3", "out/a.mp4", "in/n.jpg", "in/r.jpg"})

    assert kept == {"in/p.jpg", "in/v.mp3", "out/a.mp4"}
    assert (await reload(database, old)).video_key is None
    assert (await reload(database, new)).photo_key
    assert (await reload(database, running)).photo_key


async def test_halves_that_another_try_uses_are_no_orphans(database: Database, clock: Clock) -> None:
    failed = await insert_job(database, State.FAILED, updated_at=clock() - 2000, **HALVES)
    await Repeats(database).again(failed.id, user_id=7)
    await Retention(database).let_go(ended_before_ms=clock())
    assert await Retention(database).orphans_among({"in/p.jpg", "in/v.mp3"}) == set()


async def test_another_try_begins_once_with_the_same_halves(database: Database, jobs: Jobs) -> None:
    failed = await insert_job(database, State.FAILED, **HALVES, photo_message_id=1, voice_message_id=2)
    repeats = Repeats(database)
    presses = [await repeats.again(failed.id, user_id=user_id) for user_id in (8, 7, 7)]
    again, _ = await jobs.list()

    assert presses == [False, True, False]
    assert (again.state, again.photo_key, again.voice_key, again.voice_message_id) == (
        State.COLLECTING,
        "in/p.jpg",
        "in/v.mp3",
        2,
    )


@pytest.mark.parametrize("state", [State.DELIVERED, State.RENDERING])
async def test_only_what_failed_is_tried_again(database: Database, state: State) -> None:
    job = await insert_job(database, state, **HALVES)
    assert not await Repeats(database).again(job.id, user_id=7)


async def test_a_chat_that_speaks_again_gets_what_waited_for_it(database: Database, jobs: Jobs, clock: Clock) -> None:
    later = clock() + 10_000
    waiting = await insert_job(database, State.DELIVERING, reason=CHAT_GONE, due_at=later)
    retried = await insert_job(database, State.DELIVERING, due_at=later)
    elsewhere = await insert_job(database, State.DELIVERING, reason=CHAT_GONE, due_at=later, chat_id=8)
    await jobs.wake_chat(7)

    assert [job.id for job in await jobs.claim(9, lease_ms=1000)] == [waiting.id]
    assert (await reload(database, waiting)).reason is None
    assert (await reload(database, retried)).due_at == later
    assert (await reload(database, elsewhere)).due_at == later


async def test_jobs_go_along_when_their_group_becomes_a_supergroup(database: Database, jobs: Jobs) -> None:
    """Message ids do not: in the new chat they could be others' messages."""
    messages = {"photo_message_id": 1, "voice_message_id": 2, "status_message_id": 3}
    rendering = await insert_job(database, State.RENDERING, chat_id=-5, **messages)
    draft = await insert_job(database, State.COLLECTING, chat_id=-5, photo_message_id=1)
    other = await insert_job(database, State.RENDERING, chat_id=-6, **messages)
    await Peers(database).choose(-5, daily_limit=3)
    await jobs.move_chat(-5, -1005)

    moved = await reload(database, rendering)
    assert (moved.chat_id, moved.voice_message_id, moved.status_message_id) == (-1005, None, None)
    assert (await reload(database, draft)).chat_id == -1005
    assert (await reload(database, other)).voice_message_id == 2
    assert [peer.daily_limit for peer in await Peers(database).get(-5, -1005)] == [None, 3]
