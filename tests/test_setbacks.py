"""A step that can't succeed comes to an end; what passes by itself, or needs a person, costs nothing but time."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs
from telegram.error import Forbidden, NetworkError, RetryAfter

from akool import CreateFailed
from bot import texts
from bot.outcomes import DeliveryFailed
from bot.sandbox.chats import Chat
from bot.setbacks import Setbacks
from bot.texts import MEDIA_ALARM
from clocks import TurnableClock
from databases import insert_job, reload
from media_samples import sound
from scenes import ask_for_video, calls_of, job_in, new_chat, passing, says, video_in
from storage.alarms import Alarms
from storage.breaker import Breaker
from storage.database import Database
from storage.drafts import Drafts, Half, Kind
from storage.job import FREE, Job, State
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.objects import ObjectMissing, StoreUnavailable
from storage.schema import calls
from world import PHOTO, World, world

DAY_SECONDS = 24 * 3600
MOST_FAULTS = 12

in_session = pytest.mark.asyncio(loop_scope="session")


# --- by itself: what counts ---


class Bench:
    """The rule beside a database, and a job whose step fails as often as is wished for."""

    def __init__(self, database: Database) -> None:
        self.clock = TurnableClock()
        self.database = database
        database.now = self.clock.now
        jobs, ledger = Jobs(database), Ledger(database)
        self.setbacks = Setbacks(self.clock, jobs, ledger, Breaker(database), Alarms(database))

    async def fails(self, job: Job, error: Exception, *, times: int) -> Job:
        """Let the job's step fail so, each time when it is due again; the job as it is then."""
        for _ in range(times):
            due_at = (await reload(self.database, job)).due_at
            assert due_at is not None, "it has ended"
            self.clock.turn(seconds=max(0, due_at - self.clock.now()) / 1000)
            [job] = await Jobs(self.database).claim(1, lease_ms=60_000)
            await self.setbacks.step_failed(job, error)
        return await reload(self.database, job)


@pytest.fixture
def bench(database: Database) -> Bench:
    return Bench(database)


@in_session
@pytest.mark.parametrize(
    "error",
    [
        OperationalError("", {}, OSError()),
        StoreUnavailable("the bucket can't be used"),
        NetworkError("gone"),
        DeliveryFailed(RetryAfter(60), may_be_sent=False),
        OSError(errno.ENOSPC, "No space left on device"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_passes_by_itself_or_needs_a_person_is_tried_for_ever(bench: Bench, error: Exception) -> None:
    job = await bench.fails(await insert_job(bench.database, State.DELIVERING), error, times=300)

    assert job.state is State.DELIVERING
    assert bench.clock.now() - job.since > DAY_SECONDS * 1000


@in_session
@pytest.mark.parametrize(
    "error",
    [ValueError("a mistake of ours"), ObjectMissing(), DeliveryFailed(Forbidden("no"), may_be_sent=False)],
    ids=lambda error: type(error).__name__,
)
async def test_what_does_not_pass_ends_the_job_within_half_an_hour(bench: Bench, error: Exception) -> None:
    job = await insert_job(bench.database, State.DELIVERING, video_key="out/a.mp4", paid=1)
    job = await bench.fails(job, error, times=MOST_FAULTS - 1)
    assert job.state is State.DELIVERING
    with capture_logs() as logged:
        ended = await bench.fails(job, error, times=1)

    assert (ended.state, ended.paid) == (State.FAILED, 1)
    assert 15 * 60_000 < bench.clock.now() - job.since < 30 * 60_000
    assert [line["log_level"] for line in logged if "given up" in line["event"]] == ["error"]


@in_session
async def test_an_outage_uses_up_none_of_the_tries(bench: Bench) -> None:
    job = await insert_job(bench.database, State.SAVING)
    await bench.fails(job, ValueError(), times=MOST_FAULTS - 1)
    await bench.fails(job, NetworkError("gone"), times=50)
    assert (await reload(bench.database, job)).state is State.SAVING
    assert (await bench.fails(job, ValueError(), times=1)).state is State.FAILED


@in_session
async def test_while_akool_can_fetch_nothing_no_file_is_to_blame(bench: Bench) -> None:
    """The job waits for the tunnel to be mended; then it is judged again."""
    alarms, ledger = bench.setbacks.alarms, bench.setbacks.ledger
    await alarms.raise_(MEDIA_ALARM, "media.fetch")
    job = await insert_job(bench.database, State.QUEUED)

    async def refused() -> Job:
        [(submitted, _)] = await ledger.admit(at_akool=9, lease_ms=60_000, most=1)
        await bench.setbacks.not_accepted(submitted, CreateFailed(code=1015), answer_expected_until=0)
        after = await reload(bench.database, job)
        bench.clock.turn(seconds=max(0, (after.due_at or 0) - bench.clock.now()) / 1000)
        return after

    began_at = bench.clock.now()
    assert {(await refused()).state for _ in range(30)} == {State.QUEUED}
    assert bench.clock.now() - began_at > 2 * 3600 * 1000
    await alarms.over(MEDIA_ALARM)
    assert (await refused()).reason == "media_refused"
    assert (await reload(bench.database, job)).state is State.FAILED


@in_session
async def test_each_state_has_tries_of_its_own(bench: Bench) -> None:
    job = await insert_job(bench.database, State.SAVING, claim="ours", faults=MOST_FAULTS - 1)
    jobs = Jobs(bench.database)
    await jobs.release(await jobs.advance(job, State.DELIVERING), due_at=bench.clock.now())

    assert (await bench.fails(job, ValueError(), times=MOST_FAULTS - 1)).state is State.DELIVERING


@in_session
async def test_a_half_that_is_settled_leaves_the_next_one_all_tries(bench: Bench) -> None:
    half = Half(Kind.PHOTO, 1, "file")
    job = await insert_job(bench.database, State.COLLECTING, claim="ours", faults=MOST_FAULTS - 1)

    assert (await Drafts(bench.database).settle(job, half)).faults == 0


@in_session
@pytest.mark.parametrize(
    ("state", "error", "reason", "paid"),
    [
        (State.COLLECTING, ValueError(), "our_fault", 0),
        (State.SUBMITTING, ValueError(), "submit_unknown", 1),
        (State.RENDERING, ValueError(), "our_fault", 1),
        (State.SAVING, ValueError(), "our_fault", 1),
        (State.DELIVERING, ValueError(), "video_kept", 1),
        (State.DELIVERING, ObjectMissing(), "video_lost", 1),
    ],
)
async def test_the_end_tells_what_may_have_been_paid_and_closes_the_call(
    bench: Bench, state: State, error: Exception, reason: str, paid: int
) -> None:
    is_paid = 0 if state in FREE | {State.SUBMITTING} else 1
    video_key = "out/a.mp4" if state is State.DELIVERING else None
    job = await insert_job(bench.database, state, faults=MOST_FAULTS - 1, paid=is_paid, video_key=video_key)
    async with bench.database.begin() as connection:
        await connection.execute(insert(calls).values(token="token", job_id=job.id, created_at=1))
    ended = await bench.fails(job, error, times=1)

    assert (ended.state, ended.reason, ended.paid) == (State.FAILED, reason, paid)
    [call] = await Ledger(bench.database).of_job(job.id)
    assert call.closed_at == bench.clock.now()


# --- in a world: a video that can't be sent ---


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture
async def here(tmp_path: Path, clock: TurnableClock) -> AsyncIterator[World]:
    async with world(tmp_path, clock=clock) as here:
        yield here


async def with_a_video_that_waits(here: World, clock: TurnableClock) -> tuple[Chat, Path]:
    """Somebody whose video is stored, and was refused by Telegram once; and the file that it is."""
    here.telegram.fail("sendVideo", 500)
    chat = await ask_for_video(here)
    await here.telegram.wait_for_call("sendVideo")
    job = await job_in(here, chat, State.DELIVERING)
    assert job.video_key is not None
    return chat, Path(here.settings.media_store, job.video_key)


async def test_a_lost_video_ends_with_a_clear_word_and_can_be_made_again(here: World, clock: TurnableClock) -> None:
    chat, video = await with_a_video_that_waits(here, clock)
    video.unlink()
    told = await passing(here, clock, chat, says(chat, texts.FAILURES["video_lost"]))
    assert (await job_in(here, chat, State.FAILED)).paid == 1

    await chat.press(told, "Try again")
    await passing(here, clock, chat, video_in(chat))
    assert len(here.akool.creates) == 2


async def test_a_video_that_cant_be_sent_is_kept_and_sent_later_for_nothing(here: World, clock: TurnableClock) -> None:
    chat, video = await with_a_video_that_waits(here, clock)
    whole = video.read_bytes()
    video.write_bytes(b"no video")
    told = await passing(here, clock, chat, says(chat, texts.FAILURES["video_kept"]))
    [call] = await calls_of(here, await job_in(here, chat, State.FAILED))
    assert call.outcome == "accepted"

    video.write_bytes(whole)
    await chat.press(told, "Try again")
    await passing(here, clock, chat, video_in(chat))
    assert len(here.akool.creates) == 1


async def test_a_media_folder_that_is_not_mounted_costs_nothing_but_time(here: World, clock: TurnableClock) -> None:
    chat, video = await with_a_video_that_waits(here, clock)
    away = video.parent.rename(video.parent.with_name("away"))
    job = await tried(here, clock, chat, times=2 * MOST_FAULTS)
    assert (job.state, job.faults) == (State.DELIVERING, 0)

    away.rename(video.parent)
    await passing(here, clock, chat, video_in(chat))


async def tried(here: World, clock: TurnableClock, chat: Chat, *, times: int) -> Job:
    """Let time pass until a step of the chat's job has failed so often in its state; the job as it is then."""
    while (job := await job_in(here, chat, *State)).attempts < times and job.due_at is not None:
        clock.turn(seconds=0.1 if job.claim else max(0.1, (job.due_at - clock.now()) / 1000))
        await asyncio.sleep(0.01)  # a step takes real time
    return job


# --- in a world: what was sent ---


async def test_a_refusal_that_may_not_be_said_is_not_worked_out_again(here: World, clock: TurnableClock) -> None:
    """As in a group where the bot may not write."""
    chat = new_chat(here)
    await chat.send_photo(PHOTO)
    await says(chat, texts.STATUS_ONLY_PHOTO)
    here.telegram.fail("sendMessage", 400, "Bad Request: not enough rights to send text messages to the chat")
    await chat.send_voice(sound(seconds=0.1))
    refused = here.telegram.wait_until(lambda: sum(call.name == "sendMessage" for call in here.telegram.calls) == 2)
    await passing(here, clock, chat, refused)
    await chat.send_voice(sound(seconds=1))
    await passing(here, clock, chat, video_in(chat))

    assert sum(call.name == "getFile" for call in here.telegram.calls) == 3


async def test_telegram_that_gives_no_files_for_hours_costs_nothing_but_time(here: World, clock: TurnableClock) -> None:
    here.telegram.fail("getFile", 500, times=10_000)
    chat = await ask_for_video(here)
    began_at = clock.now()
    job = await tried(here, clock, chat, times=40)
    assert job.state is State.COLLECTING
    assert clock.now() - began_at > 2 * 3_600_000

    here.telegram.faults.clear()
    await passing(here, clock, chat, video_in(chat))


async def test_a_file_that_telegram_itself_does_not_have_is_given_up_soon(here: World, clock: TurnableClock) -> None:
    here.telegram.fail("getFile", 400, "Bad Request: wrong file_id", times=10_000)
    chat = new_chat(here)
    await chat.send_photo(PHOTO)
    await passing(here, clock, chat, says(chat, texts.REFUSALS["unfetchable"]))

    job = await job_in(here, chat, State.FAILED)
    assert job.updated_at - job.created_at < 10 * 60_000


@in_session
async def test_a_file_that_never_comes_is_given_up_after_a_day(bench: Bench) -> None:
    job = await insert_job(bench.database, State.COLLECTING)
    while not bench.setbacks.is_unfetchable(job, NetworkError("gone")):
        job = await bench.fails(job, NetworkError("gone"), times=1)

    assert DAY_SECONDS * 900 < bench.clock.now() - job.created_at < DAY_SECONDS * 1200
