"""Which half goes where, and when a draft becomes a job in the queue, on both engines."""

from dataclasses import dataclass
from itertools import count

import pytest

from databases import Clock, insert_job
from storage.database import Database
from storage.drafts import Drafts, Half, Kind, incoming, is_complete
from storage.job import OPEN, Job, State
from storage.jobs import Jobs, Overtaken
from storage.quotas import Limits, Quotas
from storage.updates import Updates

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEASE_MS = 60_000
DAY_MS = 24 * 3600 * 1000
NO_LIMITS = Limits()


def photo(message_id: int) -> Half:
    return Half(Kind.PHOTO, message_id, f"photo {message_id}", 1000)


def voice(message_id: int) -> Half:
    return Half(Kind.VOICE, message_id, f"voice {message_id}")


PREPARED_PHOTO = {"photo_key": "in/p.jpg", "photo_message_id": 1, "photo_accepted": 1}
FACELESS_PHOTO = PREPARED_PHOTO | {"photo_accepted": 0}
PREPARED_VOICE = {"voice_key": "in/v.mp3", "voice_message_id": 2, "voice_ms": 900}


@dataclass
class Desk:
    """What happens between somebody's message and the row, in few words."""

    database: Database

    def __post_init__(self) -> None:
        self.drafts = Drafts(self.database)
        self.jobs = Jobs(self.database)
        self._update_ids = count(1)

    async def send(self, *halves: Half, chat_id: int = 7, thread_id: int = 0, user_id: int = 7) -> int:
        """Deliver an update with these halves; returns its id."""
        update_id = next(self._update_ids)
        await Updates(self.database).store([(update_id, chat_id, "{}")])
        assert await self.drafts.add(halves, update_id=update_id, chat_id=chat_id, thread_id=thread_id, user_id=user_id)
        return update_id

    async def waiting(self) -> list[list[Half]]:
        """The halves that wait to be prepared, per job, oldest job first."""
        return [incoming(job) for job in reversed(await self.jobs.list())]

    async def claim(self) -> Job:
        [job] = await self.jobs.claim(9, lease_ms=LEASE_MS)
        return job

    async def complete(self) -> Job:
        """A held draft whose halves are both prepared."""
        await self.send(photo(1))
        await self.send(voice(2))
        job = await self.drafts.settle(await self.claim(), photo(1), **PREPARED_PHOTO)
        return await self.drafts.settle(job, voice(2), **PREPARED_VOICE)


async def used_today(desk: Desk) -> int:
    left = await Quotas(desk.database).left(chat_id=7, user_id=7, limits=Limits(daily=100))
    return 100 - (left.daily or 0)


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


# --- what arrives ---


async def test_the_first_half_is_a_job(desk: Desk) -> None:
    now = desk.database.now()
    await desk.send(photo(1), chat_id=-5, thread_id=3, user_id=7)
    [job] = await desk.jobs.list()
    assert (job.chat_id, job.thread_id, job.user_id, job.state) == (-5, 3, 7, State.COLLECTING)
    assert (job.due_at, job.created_at, job.story) == (now, now, [(State.COLLECTING, now)])
    assert incoming(job) == [photo(1)]
    assert not is_complete(job)


@pytest.mark.parametrize("halves", [(photo(1), voice(2)), (voice(2), photo(1))])
async def test_two_halves_meet_in_either_order(desk: Desk, halves: tuple[Half, Half]) -> None:
    for half in halves:
        await desk.send(half)
    assert await desk.waiting() == [list(halves)]
    assert is_complete(await desk.claim())


async def test_newer_halves_of_a_kind_join_the_draft_until_the_other_kind_is_there(desk: Desk) -> None:
    for half in (photo(1), photo(2), voice(3), photo(4)):
        await desk.send(half)
    assert await desk.waiting() == [[photo(1), photo(2), voice(3)], [photo(4)]]


async def test_a_draft_that_is_prepared_is_complete_too(desk: Desk) -> None:
    await desk.complete()
    await desk.send(photo(3))
    assert await desk.waiting() == [[], [photo(3)]]


@pytest.mark.parametrize("pair", [(photo(1), voice(2)), (voice(1), photo(2))])
@pytest.mark.parametrize("next_pair", [(photo(3), voice(4)), (voice(3), photo(4))])
async def test_a_pair_is_closed_however_long_its_files_take(
    desk: Desk, pair: tuple[Half, Half], next_pair: tuple[Half, Half]
) -> None:
    """Two pairs that arrive during an outage never mix, in whatever order their halves come."""
    for half in (*pair, *next_pair):
        await desk.send(half)
    assert await desk.waiting() == [list(pair), list(next_pair)]


@pytest.mark.parametrize("elsewhere", [{"chat_id": 8}, {"thread_id": 1}, {"user_id": 8}])
async def test_halves_meet_only_within_a_chat_a_topic_and_a_person(desk: Desk, elsewhere: dict[str, int]) -> None:
    await desk.send(photo(1))
    await desk.send(voice(2), **elsewhere)
    assert await desk.waiting() == [[photo(1)], [voice(2)]]


async def test_a_job_that_is_under_way_takes_nothing_more(desk: Desk) -> None:
    for state in set(State) - {State.COLLECTING}:
        await insert_job(desk.database, state)
    await desk.send(photo(1))
    assert (await desk.waiting())[-1] == [photo(1)]
    assert sum(map(len, await desk.waiting())) == 1


async def test_an_update_adds_its_half_once(desk: Desk) -> None:
    update_id = await desk.send(photo(1))
    again = {"update_id": update_id, "chat_id": 7, "thread_id": 0, "user_id": 7}
    assert not await desk.drafts.add([photo(1)], **again)
    assert not await desk.drafts.add([photo(1)], **again | {"update_id": 999}), "it was never stored"
    assert await desk.waiting() == [[photo(1)]]


async def test_a_voice_that_replies_to_a_photo_takes_that_photo(desk: Desk) -> None:
    """The photo's own draft where it still lacks a voice, and else a draft of the two."""
    await desk.send(photo(1))
    await desk.send(photo(1), voice(2))
    assert await desk.waiting() == [[photo(1), voice(2)]]
    await desk.send(photo(1), voice(3))
    assert (await desk.waiting())[1:] == [[photo(1), voice(3)]]


async def test_a_reply_leaves_another_draft_alone(desk: Desk) -> None:
    await desk.send(photo(1))
    await desk.send(photo(9), voice(10))
    assert await desk.waiting() == [[photo(1)], [photo(9), voice(10)]]


async def test_a_reply_finds_its_photo_prepared(desk: Desk) -> None:
    await desk.send(photo(1))
    job = await desk.drafts.settle(await desk.claim(), photo(1), **PREPARED_PHOTO)
    await desk.send(photo(1), voice(2))
    [found] = await desk.jobs.list()
    assert found.id == job.id
    assert voice(2) in incoming(found)


async def test_a_half_that_arrives_while_the_draft_is_held_rings_for_it(desk: Desk, clock: Clock) -> None:
    await desk.send(photo(1))
    held = await desk.claim()
    await desk.send(voice(2))
    await desk.jobs.release(held, due_at=clock() + DAY_MS)
    assert (await desk.claim()).id == held.id


# --- what is prepared ---


async def test_settling_a_half_keeps_those_that_arrived_meanwhile(desk: Desk) -> None:
    await desk.send(photo(1))
    held = await desk.claim()
    await desk.send(voice(2))
    settled = await desk.drafts.settle(held, photo(1), **PREPARED_PHOTO)
    assert incoming(settled) == [voice(2)]
    assert (settled.photo_key, settled.claim, settled.has_photo) == ("in/p.jpg", held.claim, True)


async def test_a_refused_half_displaces_no_good_one(desk: Desk) -> None:
    await desk.send(photo(1))
    held = await desk.drafts.settle(await desk.claim(), photo(1), **PREPARED_PHOTO)
    await desk.send(photo(5))
    settled = await desk.drafts.settle(held, photo(5))
    assert (settled.photo_key, settled.photo_message_id, incoming(settled)) == ("in/p.jpg", 1, [])


async def test_who_has_lost_the_draft_settles_and_enqueues_nothing(desk: Desk, clock: Clock) -> None:
    lost = await desk.complete()
    clock.turn(seconds=60)
    current = await desk.claim()
    with pytest.raises(Overtaken):
        await desk.drafts.settle(lost, photo(1))
    with pytest.raises(Overtaken):
        await desk.drafts.enqueue(lost, limits=NO_LIMITS)
    assert await desk.jobs.list() == [current]


async def test_a_photo_without_a_face_counts_once_its_owner_has_accepted_it(desk: Desk, clock: Clock) -> None:
    for half in (photo(1), voice(2)):
        await desk.send(half)
    held = await desk.claim()
    assert not await desk.drafts.accept_photo(held.id, user_id=7), "it is not prepared yet"
    held = await desk.drafts.settle(held, photo(1), **FACELESS_PHOTO)
    held = await desk.drafts.settle(held, voice(2), **PREPARED_VOICE)
    assert not is_complete(held)
    await desk.jobs.release(held, due_at=clock() + DAY_MS)
    assert not await desk.drafts.accept_photo(held.id, user_id=8), "a stranger"
    assert await desk.drafts.accept_photo(held.id, user_id=7)
    accepted = await desk.claim()
    assert is_complete(accepted)
    await desk.drafts.enqueue(accepted, limits=NO_LIMITS)
    assert not await desk.drafts.accept_photo(held.id, user_id=7), "it is under way"


async def test_another_photo_may_take_the_place_of_one_without_a_face(desk: Desk) -> None:
    for half in (photo(1), voice(2)):
        await desk.send(half)
    held = await desk.drafts.settle(await desk.claim(), photo(1), **FACELESS_PHOTO)
    await desk.send(photo(3))
    settled = await desk.drafts.settle(held, photo(3), **PREPARED_PHOTO | {"photo_message_id": 3})
    assert (settled.photo_message_id, incoming(settled), is_complete(settled)) == (3, [voice(2)], True)


# --- into the queue ---


async def test_a_complete_draft_goes_into_the_queue(desk: Desk, clock: Clock) -> None:
    clock.turn(seconds=1)
    queued = await desk.drafts.enqueue(await desk.complete(), limits=Limits(daily=1))
    assert (queued.state, queued.queued_at, queued.due_at, queued.claim) == (State.QUEUED, clock(), clock(), None)


async def test_a_draft_waits_for_a_half_that_arrived_meanwhile(desk: Desk) -> None:
    for half in (photo(1), photo(3), voice(2)):
        await desk.send(half)
    held = await desk.drafts.settle(await desk.claim(), photo(1), **PREPARED_PHOTO)
    held = await desk.drafts.settle(held, voice(2), **PREPARED_VOICE)
    waiting = await desk.drafts.enqueue(held, limits=Limits(daily=1))
    assert (waiting.state, waiting.claim, incoming(waiting)) == (State.COLLECTING, held.claim, [photo(3)])


async def test_who_has_had_enough_for_a_day_is_told_so(desk: Desk) -> None:
    await insert_job(desk.database, State.DELIVERED, queued_at=desk.database.now())
    refused = await desk.drafts.enqueue(await desk.complete(), limits=Limits(daily=1))
    assert (refused.state, refused.reason, refused.due_at) == (State.FAILED, "daily_limit", None)


async def test_no_limit_is_no_limit(desk: Desk) -> None:
    await insert_job(desk.database, State.DELIVERED, queued_at=desk.database.now())
    assert (await desk.drafts.enqueue(await desk.complete(), limits=NO_LIMITS)).state is State.QUEUED


async def test_the_limit_counts_what_was_queued_in_the_last_24_hours_and_may_have_cost_something(
    desk: Desk, clock: Clock
) -> None:
    def hours_ago(hours: float) -> int:
        return clock() - round(hours * 3_600_000)

    for state in OPEN - {State.COLLECTING} | {State.DELIVERED}:
        await insert_job(desk.database, state, queued_at=hours_ago(1))
    counted = len(OPEN)
    for state in (State.FAILED, State.CANCELLED):
        await insert_job(desk.database, state, queued_at=hours_ago(1))
        await insert_job(desk.database, state, queued_at=hours_ago(1), paid=1)
        counted += 1
    await insert_job(desk.database, State.COLLECTING)
    await insert_job(desk.database, State.DELIVERED, queued_at=hours_ago(1), user_id=8)
    await insert_job(desk.database, State.DELIVERED, queued_at=hours_ago(24))
    assert await used_today(desk) == counted
    clock.turn(seconds=23 * 3600)
    assert await used_today(desk) == 0
