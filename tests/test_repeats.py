"""Beginning anew with what is there: a failed job's halves, or the last photo; on both engines."""

import asyncio
from itertools import count
from typing import Any

import pytest

from databases import Clock, insert_job
from storage.database import Database
from storage.drafts import Drafts, Half, Kind
from storage.job import Job, State
from storage.jobs import Jobs
from storage.repeats import Repeats
from storage.updates import Updates

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHOTO = {"photo_key": "in/p.jpg", "photo_message_id": 1, "photo_accepted": 1}
VOICE = {"voice_key": "in/v.mp3", "voice_message_id": 2, "voice_ms": 900}
WHOSE: dict[str, Any] = {"chat_id": 7, "thread_id": 0, "user_id": 7}

_updates = count(1)


@pytest.fixture
def repeats(database: Database) -> Repeats:
    return Repeats(database)


async def arrived(database: Database) -> int:
    """An update that is to be handled; returns its id."""
    update_id = next(_updates)
    await Updates(database).store([(update_id, 7, "{}")])
    return update_id


async def newest(database: Database) -> Job:
    return (await Jobs(database).list(limit=1))[0]


async def test_without_one_half_the_other_is_kept_and_asked_for_at_once(
    database: Database, repeats: Repeats, clock: Clock
) -> None:
    failed = await insert_job(database, State.FAILED, **PHOTO, **VOICE, language="de")
    assert await repeats.again_without(Kind.PHOTO, failed.id, user_id=7)
    draft = await newest(database)
    assert (draft.photo_key, draft.voice_key, draft.language) == (None, "in/v.mp3", "de")
    assert (draft.state, draft.status_at) == (State.COLLECTING, clock())


async def test_a_second_press_begins_nothing_more(database: Database, repeats: Repeats) -> None:
    failed = await insert_job(database, State.FAILED, **PHOTO, **VOICE)
    for _ in range(2):
        assert await repeats.again_without(Kind.VOICE, failed.id, user_id=7)
    assert len(await Jobs(database).list(states=[State.COLLECTING])) == 1


async def test_a_draft_that_lacks_something_gets_what_is_kept(database: Database, repeats: Repeats) -> None:
    """What was sent after the failure stays."""
    failed = await insert_job(database, State.FAILED, **PHOTO, **VOICE)
    photo = Half(Kind.PHOTO, 9, "new photo")
    await Drafts(database).add([photo], update_id=await arrived(database), **WHOSE)
    assert await repeats.again_without(Kind.PHOTO, failed.id, user_id=7)
    draft = await newest(database)
    assert (draft.photo_key, draft.voice_key) == (None, "in/v.mp3")
    assert "new photo" in draft.incoming


async def test_a_press_after_all_is_mended_begins_nothing(database: Database, repeats: Repeats) -> None:
    failed = await insert_job(database, State.FAILED, **PHOTO, **VOICE)
    await insert_job(database, State.DELIVERED, **PHOTO | {"photo_key": "in/new.jpg"}, **VOICE)
    assert not await repeats.again_without(Kind.PHOTO, failed.id, user_id=7)
    assert not await Jobs(database).list(states=[State.COLLECTING])


@pytest.mark.parametrize(("state", "user_id"), [(State.FAILED, 8), (State.DELIVERED, 7), (State.RENDERING, 7)])
async def test_only_its_owner_begins_a_failed_job_anew(
    database: Database, repeats: Repeats, state: State, user_id: int
) -> None:
    job = await insert_job(database, state, **PHOTO, **VOICE)
    assert not await repeats.again_without(Kind.PHOTO, job.id, user_id=user_id)
    assert (await newest(database)).id == job.id


async def test_the_last_photo_is_the_sender_s_own_in_this_chat(database: Database, repeats: Repeats) -> None:
    """And one that may be used; others' photos and other chats' are none of it."""
    assert await repeats.last_photo(chat_id=7, user_id=7) is None
    assert not await repeats.with_last_photo(update_id=await arrived(database), **WHOSE)
    last = await insert_job(database, State.DELIVERED, **PHOTO, **VOICE)
    await insert_job(database, State.DELIVERED, **PHOTO | {"photo_key": "in/other.jpg"}, user_id=8)
    await insert_job(database, State.DELIVERED, **PHOTO | {"photo_key": "in/elsewhere.jpg"}, chat_id=-5)
    await insert_job(database, State.CANCELLED, **PHOTO | {"photo_key": "in/faceless.jpg", "photo_accepted": 0})
    bad = PHOTO | {"photo_key": "in/bad.jpg"}
    await insert_job(database, State.FAILED, **bad, **VOICE, reason="render_failed_face")
    await insert_job(database, State.DELIVERED, **VOICE)
    found = await repeats.last_photo(chat_id=7, user_id=7)
    assert found is not None
    assert found.id == last.id


async def test_an_update_that_comes_again_takes_the_photo_once(database: Database, repeats: Repeats) -> None:
    await insert_job(database, State.DELIVERED, **PHOTO, **VOICE)
    update_id = await arrived(database)
    for _ in range(2):
        assert await repeats.with_last_photo(update_id=update_id, **WHOSE)
    assert [job.photo_key for job in await Jobs(database).list(states=[State.COLLECTING])] == ["in/p.jpg"]


async def test_a_voice_gets_the_last_photo_once_and_only_while_it_lacks_one(
    database: Database, repeats: Repeats
) -> None:
    await insert_job(database, State.DELIVERED, **PHOTO, **VOICE)
    draft = await insert_job(database, State.COLLECTING, **VOICE)
    assert not await repeats.use_last_photo(draft.id, user_id=8)
    assert [await repeats.use_last_photo(draft.id, user_id=7) for _ in range(2)] == [True, False]
    assert (await newest(database)).photo_key == "in/p.jpg"


async def test_two_presses_at_once_try_a_job_again_once(database: Database, replica: Database) -> None:
    failed = await insert_job(database, State.FAILED, **PHOTO, **VOICE)
    presses = (Repeats(where).again(failed.id, user_id=7) for where in (database, replica))
    assert sorted(await asyncio.gather(*presses)) == [False, True]
