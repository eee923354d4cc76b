"""The create call and the render: paid for once, whatever AKOOL and the network do."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Row, select
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from bot.sandbox import Akool
from bot.sandbox.chats import Chat
from bot.sandbox.server import HangUp
from bot.sandbox.stand_in import Fault
from bot.sandbox.videos import COMPLETED
from clocks import TurnableClock
from scenes import ask_for_video, calls_of, job_in, passing, reading, refusing, says, send_pair, video_in
from storage.job import Job, State
from storage.schema import alarms as table_of_alarms
from world import World, render_cheaply, world

pytestmark = pytest.mark.asyncio(loop_scope="module")
in_module = pytest_asyncio.fixture(scope="module", loop_scope="module")

CREATE, LOOK = "createbytalkingphoto", "infobymodelid"
OPERATOR_ID = 1
HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS


@pytest.fixture(scope="module")
def clock() -> TurnableClock:
    return TurnableClock()


@in_module
async def called_back(tmp_path_factory: pytest.TempPathFactory, clock: TurnableClock) -> AsyncIterator[World]:
    """A world in which AKOOL calls back, and callbacks can be opened."""
    async with world(
        tmp_path_factory.mktemp("called_back"), clock=clock, akool_max_concurrent=100, admin_users=str(OPERATOR_ID)
    ) as here:
        yield here


@in_module
async def polled(tmp_path_factory: pytest.TempPathFactory, clock: TurnableClock) -> AsyncIterator[World]:
    """A world in which AKOOL never calls back, and callbacks could not be opened."""
    akool = Akool(renderer=render_cheaply, callbacks="never")
    async with world(
        tmp_path_factory.mktemp("polled"),
        akool=akool,
        clock=clock,
        akool_max_concurrent=100,
        akool_client_id=None,
        akool_poll_seconds=1,
    ) as here:
        yield here


class Story:
    """One job in a world, from its two messages on."""

    def __init__(self, here: World, clock: TurnableClock) -> None:
        self.here, self.clock, self.akool = here, clock, here.akool
        self._creates_before = len(here.akool.creates)
        self._credit_before = here.akool.credit

    async def begin(self) -> Chat:
        self.chat = await ask_for_video(self.here)
        return self.chat

    async def says(self, words: str) -> None:
        await passing(self.here, self.clock, self.chat, says(self.chat, words))

    async def video(self) -> None:
        await passing(self.here, self.clock, self.chat, video_in(self.chat))

    async def until(self, *states: State) -> Job:
        return await passing(self.here, self.clock, self.chat, job_in(self.here, self.chat, *states))

    async def press(self, button: str) -> None:
        """Press a button, once the bot has offered it."""
        look = self.chat.wait_for(lambda message: button in message.buttons, timeout_seconds=60)
        await self.chat.press(await passing(self.here, self.clock, self.chat, look), button)

    async def call_back(self) -> None:
        """Let AKOOL tell that the newest video is done, and take our answer."""
        video = self.akool.videos[-1]
        await self.akool.wait_until(lambda: video.status == COMPLETED)
        callback = await self.akool.call_back(video, {"status": COMPLETED, "url": "https://akool.test/video.mp4"})
        assert callback.http_status == 200

    @property
    def creates(self) -> int:
        return len(self.akool.creates) - self._creates_before

    @property
    def spent(self) -> int:
        """The credits that AKOOL took since the beginning."""
        return self._credit_before - self.akool.credit


@pytest.fixture
def story(called_back: World, clock: TurnableClock) -> Story:
    return Story(called_back, clock)


@pytest.fixture
def silent(story: Story) -> Iterator[Story]:
    """One whose callback is made by hand."""
    story.akool.callbacks = "never"
    yield story
    story.akool.callbacks = "normal"


@pytest.fixture
def polled_story(polled: World, clock: TurnableClock) -> Story:
    return Story(polled, clock)


# --- refused: surely not accepted ---


async def test_a_job_that_akool_could_not_make_is_tried_a_few_times_more(story: Story) -> None:
    story.akool.fail(CREATE, code=1015, times=4)
    await story.begin()
    await story.video()

    assert story.creates == 5
    calls = await calls_of(story.here, await story.until(State.DELIVERED))
    assert [call.outcome for call in calls] == ["refused"] * 4 + ["accepted"]
    assert all(call.closed_at for call in calls)


@pytest.mark.parametrize("code", [1015, 1201, 1205])
async def test_after_five_tries_within_two_minutes_the_files_are_to_blame(code: int, story: Story) -> None:
    story.akool.fail(CREATE, code=code, times=5)
    await story.begin()
    await story.says("can't use this photo or this voice note. Nothing was spent")
    job = await story.until(State.FAILED)

    assert (story.creates, story.spent, job.reason, job.paid) == (5, 0, "media_refused", 0)
    (first, *_, last) = [at for state, at in job.story if state is State.SUBMITTING]
    assert last - first < 2 * 60_000


async def test_each_trouble_has_a_patience_of_its_own(story: Story) -> None:
    """Refusals that were no fault of the files don't count against them."""
    story.akool.fail(CREATE, code=1005, times=6)
    story.akool.fail(CREATE, code=1015, times=4)
    await story.begin()
    await story.video()

    assert story.creates == 11
    assert (await story.until(State.DELIVERED)).reason is None


@pytest.mark.parametrize("code", [1003, 1110])
async def test_what_akool_cant_use_is_not_tried_again(code: int, story: Story) -> None:
    story.akool.fail(CREATE, code=code)
    await story.begin()
    await story.says("can't use this photo or this voice note. Nothing was spent")
    job = await story.until(State.FAILED)

    assert (story.creates, job.reason) == (1, "media_refused")
    assert [call.outcome for call in await calls_of(story.here, job)] == ["refused"]


@pytest.mark.parametrize(
    ("refusal", "least_wait_seconds"),
    [
        ({"code": 1005}, 1),
        ({"http_status": 503}, 1),
        ({"http_status": 429, "headers": {"Retry-After": "100"}}, 100),
        ({"code": 4242}, 1),
    ],
    ids=["too frequent", "503", "429", "a new code"],
)
async def test_what_may_pass_by_itself_is_waited_for(
    refusal: dict[str, Any], least_wait_seconds: int, story: Story
) -> None:
    story.akool.fail(CREATE, **refusal, times=4)
    await story.begin()
    await story.says("The video service is busy, so I keep trying")
    await story.video()

    assert story.creates == 5
    calls = await calls_of(story.here, await story.until(State.DELIVERED))
    times = [call.created_at for call in calls]
    assert min(later - sooner for sooner, later in pairwise(times)) >= least_wait_seconds * 1000


@pytest.mark.parametrize(("code", "reason"), [(1005, "akool_busy"), (4242, "akool_refused")])
async def test_after_an_hour_of_refusals_the_job_ends_with_a_clear_word(code: int, reason: str, story: Story) -> None:
    story.akool.fail(CREATE, code=code, times=2)
    await story.begin()
    await story.akool.wait_until(lambda: story.creates == 1, timeout_seconds=60)
    await story.until(State.QUEUED)
    story.clock.turn(seconds=HOUR_SECONDS + 1)
    await story.says("Nothing was spent")

    assert (await story.until(State.FAILED)).reason == reason
    assert story.creates == 2


@pytest.mark.parametrize("code", [1006, 1104, 1103, 1101, 1102, 1009, 1109, 1200, 1213, 1221])
async def test_while_the_account_is_refused_jobs_wait_and_the_operator_hears_of_it(code: int, story: Story) -> None:
    """One job at a time tries whether it is over; then all go on by themselves."""
    operator = story.here.telegram.private_chat(user_id=OPERATOR_ID)
    operator.messages.clear()
    story.akool.fail(CREATE, code=code, times=1000)
    await story.begin()
    await story.says("needs my operator's attention")
    await passing(story.here, story.clock, story.chat, says(operator, "No videos are being made"))
    other = await ask_for_video(story.here)
    await passing(story.here, story.clock, other, says(other, "needs my operator's attention"))

    story.akool.faults.clear()
    story.clock.turn(seconds=15 * 60)  # when the breaker lets the next one try
    await story.video()
    await passing(story.here, story.clock, other, video_in(other))
    await passing(story.here, story.clock, other, says(operator, "Videos are being made again"))
    assert len(operator.messages) == 2, "the alarm, and that it is over"


async def test_a_trouble_that_is_over_is_noted_by_the_next_job_if_not_by_this_one(
    tmp_path: Path, clock: TurnableClock
) -> None:
    """Else nobody would hear of the next trouble either."""
    akool = Akool(renderer=render_cheaply)
    async with world(tmp_path, akool=akool, clock=clock, admin_users=str(OPERATOR_ID)) as here:
        operator = here.telegram.private_chat(user_id=OPERATOR_ID)
        akool.fail(CREATE, code=1006)
        chat = await ask_for_video(here)
        await passing(here, clock, chat, says(operator, "No videos are being made"))
        async with asyncio.timeout(60):
            while not all(alarm.told_at for alarm in await alarms_in(here)):
                await asyncio.sleep(0.02)
        async with refusing(here, "UPDATE ON alarms"):
            await passing(here, clock, chat, video_in(chat))
        other = await ask_for_video(here)
        clock.turn(seconds=15 * 60)  # when the breaker lets the next one try
        await passing(here, clock, other, video_in(other))
        alarms = await alarms_in(here)

    assert all(alarm.over_at for alarm in alarms)


async def alarms_in(here: World) -> Sequence[Row[Any]]:
    """The troubles that the operator was told of, or is to be told of."""
    async with reading(here) as database, database.begin() as connection:
        return (await connection.execute(select(table_of_alarms))).all()


# --- what may not be spent ---


async def test_who_asks_on_a_day_that_is_spent_causes_no_call(tmp_path: Path, clock: TurnableClock) -> None:
    async with world(tmp_path, clock=clock, spend_limit_day=1) as here:
        first = await ask_for_video(here)
        await passing(here, clock, first, video_in(first))
        second = await ask_for_video(here)
        refused = await passing(here, clock, second, job_in(here, second, State.FAILED))
        assert (refused.reason, refused.paid, len(here.akool.creates)) == ("spend_limit", 0, 1)

        clock.turn(seconds=DAY_SECONDS)
        third = await ask_for_video(here)
        await passing(here, clock, third, video_in(third))
        assert len(here.akool.creates) == 2


async def test_who_has_enough_under_way_is_not_queued_for_more(tmp_path: Path, clock: TurnableClock) -> None:
    """Others are, and so is whoever it was once there is room again."""
    async with world(tmp_path, clock=clock, max_pending_per_user=1, akool_max_concurrent=9) as here:
        here.akool.hold()
        chat, other = await ask_for_video(here), await ask_for_video(here)
        for busy in (chat, other):
            await job_in(here, busy, State.RENDERING)
        await send_pair(chat)
        refused = await passing(here, clock, chat, job_in(here, chat, State.FAILED))
        assert (refused.reason, len(here.akool.creates)) == ("too_many_pending", 2)

        for video in here.akool.videos:
            await here.akool.finish(video)
        await passing(here, clock, chat, video_in(chat))
        await send_pair(chat)
        await passing(here, clock, chat, job_in(here, chat, State.RENDERING))


# --- unknown: perhaps accepted, never repeated ---


@pytest.mark.parametrize(
    "response",
    [
        HangUp(),
        PlainTextResponse("", 500),
        PlainTextResponse("<html>Bad Gateway", 502),
        PlainTextResponse("<html>Gateway Time-out", 504),
        JSONResponse({"code": 2001, "msg": "Server error"}, 500),
        JSONResponse({"code": 1000, "msg": "OK", "data": {}}),
    ],
    ids=["lost", "500", "502", "504", "2001", "no _id"],
)
async def test_where_the_answer_is_lost_the_callback_brings_the_render_home(response: Response, silent: Story) -> None:
    """However long it takes; nothing is asked for twice meanwhile."""
    story = silent
    story.akool.faults.append(Fault(CREATE, response, acts=True))
    chat = await story.begin()
    await story.akool.wait_until(lambda: story.creates == 1, timeout_seconds=60)
    for _ in range(5):
        story.clock.turn(seconds=300)
        await job_in(story.here, chat, State.SUBMITTING)
    await story.says("waiting to hear whether it took your job")
    await story.call_back()
    await story.video()
    job = await story.until(State.DELIVERED)

    assert story.creates == 1
    [call] = await calls_of(story.here, job)
    assert (call.outcome, call.akool_id, job.paid) == ("accepted", story.akool.videos[-1].id, 1)


async def test_where_no_callback_comes_either_the_owner_is_asked_and_may_risk_it(story: Story) -> None:
    story.akool.drop(CREATE, before=True)
    await story.begin()
    await story.until(State.SUBMITTING)
    await story.akool.wait_until(lambda: story.creates == 1, timeout_seconds=60)
    await story.press("Try again (may cost twice)")
    await story.video()

    assert story.creates == 2
    job = await story.until(State.DELIVERED)
    assert [call.outcome for call in await calls_of(story.here, job)] == ["unknown", "accepted"]


async def test_a_late_callback_for_a_job_that_was_left_writes_the_ledger_and_nothing_else(silent: Story) -> None:
    story = silent
    story.akool.drop(CREATE, before=False)
    chat = await story.begin()
    await story.press("Leave it")
    left = await story.until(State.FAILED)
    [call] = await calls_of(story.here, left)
    assert (left.reason, call.outcome, call.akool_id) == ("submit_unknown", "unknown", None)

    await story.call_back()
    [call] = await calls_of(story.here, left)
    assert (call.outcome, call.akool_id) == ("accepted", story.akool.videos[-1].id)
    job = await story.until(State.FAILED)
    assert (job.story, job.paid) == (left.story, 1)
    assert (story.creates, sum(message.video is not None for message in chat.messages)) == (1, 0)


@pytest.mark.parametrize("button", ["Try again (may cost twice)", "Leave it"])
async def test_where_callbacks_cant_be_opened_the_owner_is_asked_at_once(button: str, polled_story: Story) -> None:
    story = polled_story
    story.akool.drop(CREATE, before=False)
    chat = await story.begin()
    question = await passing(story.here, story.clock, chat, says(chat, "never heard whether"))
    assert set(question.buttons) == {"Try again (may cost twice)", "Leave it"}
    await story.press(button)

    if button == "Leave it":
        await story.says("so I've left it")
        job = await story.until(State.FAILED)
        assert (story.creates, job.reason, job.paid) == (1, "submit_unknown", 1)
    else:
        await story.video()
        assert story.creates == 2


async def test_a_try_that_was_risked_and_refused_does_not_say_that_nothing_was_spent(polled_story: Story) -> None:
    story = polled_story
    story.akool.drop(CREATE, before=False)
    await story.begin()
    story.akool.fail(CREATE, code=1003)
    await story.press("Try again (may cost twice)")
    await story.says("can't use this photo or this voice note. It may have cost one video.")

    assert (await story.until(State.FAILED)).paid == 1


async def test_an_owner_who_never_answers_has_the_job_left_after_a_week(polled_story: Story) -> None:
    story = polled_story
    story.akool.drop(CREATE, before=False)
    await story.begin()
    await story.says("never heard whether")
    story.clock.turn(seconds=7 * DAY_SECONDS)
    await story.says("so I've left it")

    assert (await story.until(State.FAILED)).reason == "submit_unknown"
    assert story.creates == 1


class HeldBack(Response):
    """The true answer to the last create call, once the gate is open."""

    def __init__(self, akool: Akool) -> None:
        super().__init__()
        self._akool = akool
        self.gate = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.gate.wait()
        video = self._akool.videos[-1].shown(self._akool.root_url)
        await JSONResponse({"code": 1000, "msg": "OK", "data": video})(scope, receive, send)


async def begin_with_answer_held_back(story: Story) -> HeldBack:
    """Make a create call that AKOOL takes its time over."""
    answer = HeldBack(story.akool)
    story.akool.faults.append(Fault(CREATE, answer, acts=True))
    await story.begin()
    await story.akool.wait_until(lambda: story.creates == 1, timeout_seconds=60)
    return answer


async def test_an_answer_that_takes_longer_than_a_lease_is_waited_for(polled_story: Story) -> None:
    answer = await begin_with_answer_held_back(polled_story)
    for _ in range(20):
        polled_story.clock.turn(seconds=10)
        await calls_of(polled_story.here, await job_in(polled_story.here, polled_story.chat, State.SUBMITTING))
    answer.gate.set()
    await polled_story.video()

    assert polled_story.creates == 1


async def test_a_call_that_the_database_holds_up_is_made_later(polled_story: Story) -> None:
    """It was surely not made, so nobody is asked about it."""
    story = polled_story
    held_up = "UPDATE ON jobs WHEN OLD.state = 'submitting' AND NEW.state = 'submitting'"
    async with refusing(story.here, held_up):
        await story.begin()
        await story.says("The video service is busy, so I keep trying")
        assert story.creates == 0
    await story.video()

    assert story.creates == 1
    calls = await calls_of(story.here, await story.until(State.DELIVERED))
    assert {call.outcome for call in calls[:-1]} == {"refused"}


async def test_a_refusal_that_cant_be_noted_at_once_is_noted_later(polled_story: Story) -> None:
    """Forgotten, it would look like a call whose outcome nobody knows."""
    story = polled_story
    story.akool.fail(CREATE, code=1005)
    with capture_logs() as logged:
        async with refusing(story.here, "UPDATE ON jobs WHEN NEW.state = 'queued' AND OLD.state = 'submitting'"):
            await story.begin()
            async with asyncio.timeout(60):
                while not any("can't be noted" in line["event"] for line in logged):
                    await asyncio.sleep(0.01)
        await story.video()

    assert story.creates == 2
    assert "never heard" not in str(story.chat)


async def test_a_database_that_fails_for_a_moment_costs_no_answer(polled_story: Story) -> None:
    story = polled_story
    with capture_logs() as logged:
        answer = await begin_with_answer_held_back(story)
        async with refusing(story.here, "UPDATE OF due_at ON jobs"), asyncio.timeout(30):
            story.clock.turn(seconds=21)  # a third of the lease: time to extend it
            while not any("lease can't be extended" in line["event"] for line in logged):
                await asyncio.sleep(0.01)
        answer.gate.set()
    look = story.chat.wait_for(lambda message: message.video or "never heard whether" in message.text)
    message = await passing(story.here, story.clock, story.chat, look)

    assert message.video


# --- the render ---


def rendered(video_status: int, **fields: object) -> JSONResponse:
    """An answer of infobymodelid."""
    data = {"_id": "somebody's", "video_status": video_status, "video": "", **fields}
    return JSONResponse({"code": 1000, "msg": "OK", "data": data})


async def test_a_render_that_was_heard_of_late_has_all_its_time(silent: Story) -> None:
    """It is paid for; that its beginning was not heard of is no reason to give it up."""
    story = silent
    story.akool.drop(CREATE, before=False)
    story.akool.faults.append(Fault(LOOK, rendered(2), times=4))
    videos = len(story.akool.videos)
    chat = await story.begin()
    await story.akool.wait_until(lambda: len(story.akool.videos) > videos, timeout_seconds=60)
    story.clock.turn(seconds=HOUR_SECONDS - 120)
    await story.akool.call_back(story.akool.videos[-1], {"status": 2})
    await job_in(story.here, chat, State.RENDERING)
    story.clock.turn(seconds=300)
    await story.video()

    assert story.creates == 1


async def test_an_akool_that_cant_be_asked_is_no_reason_to_give_a_render_up(silent: Story) -> None:
    """It may be finished and paid for; after a day without a word it is given up all the same."""
    story = silent
    story.akool.fail(LOOK, http_status=500, times=100_000)
    await story.begin()
    await story.until(State.RENDERING)
    for _ in range(10):
        story.clock.turn(seconds=HOUR_SECONDS)
        await story.until(State.RENDERING)
    story.akool.faults.clear()
    await story.video()

    story.akool.fail(LOOK, http_status=500, times=100_000)
    await story.begin()
    await story.until(State.RENDERING)
    story.clock.turn(seconds=DAY_SECONDS + HOUR_SECONDS + 1)
    await story.says("took too long")
    story.akool.faults.clear()
    assert story.creates == 2


async def test_an_answer_about_the_media_ends_a_pause(story: Story) -> None:
    """For it shows that AKOOL takes jobs of this account."""
    story.akool.fail(CREATE, code=1006)
    story.akool.fail(CREATE, code=1003)
    await story.begin()
    await story.says("needs my operator's attention")
    await story.says("can't use this photo or this voice note")
    await story.begin()
    await story.until(State.DELIVERED)

    assert story.creates == 3


@pytest.mark.parametrize(
    ("deduction", "cost", "paid"),
    [
        ({}, "Nothing was spent", 0),
        ({"deduction_credit": 0}, "Nothing was spent", 0),
        ({"deduction_credit": 10}, "It did cost one video", 1),
    ],
    ids=["not told", "free", "charged"],
)
async def test_a_render_that_fails_is_told_with_what_it_cost_and_may_be_tried_again(
    deduction: dict[str, int], cost: str, paid: int, story: Story
) -> None:
    story.akool.fail_next_render("Oops: ERR_42")
    story.akool.faults.append(Fault(LOOK, rendered(4, error_reason="Oops: ERR_42", **deduction)))
    chat = await story.begin()
    await story.says(f"could not make a video of this. {cost}")
    job = await story.until(State.FAILED)

    assert (job.reason, job.paid, story.creates) == ("render_failed", paid, 1)
    assert "ERR_42" not in str(chat), "the vendor's words are for the log"
    await story.press("Try again")
    await story.video()


@pytest.mark.parametrize(
    ("said", "reason", "words"),
    [
        ("No FACE detected in the image", "render_failed_face", "the face in this photo"),
        ("audio decode error", "render_failed_voice", "this voice note"),
        ("invalid image size", "render_failed_photo", "with this photo"),
        ("NSFW content in the image", "render_failed_rules", "rules don't allow"),
    ],
)
async def test_akools_reason_is_told_in_our_words(said: str, reason: str, words: str, story: Story) -> None:
    story.akool.fail_next_render(said)
    story.akool.faults.append(Fault(LOOK, rendered(4, error_reason=said)))
    chat = await story.begin()
    await story.says(words)

    assert (await story.until(State.FAILED)).reason == reason
    assert said not in str(chat)


async def test_a_render_that_takes_too_long_is_given_up_and_not_revived(silent: Story) -> None:
    story = silent
    story.akool.faults.append(Fault(LOOK, rendered(2), times=1000))
    chat = await story.begin()
    await story.until(State.RENDERING)
    story.clock.turn(seconds=HOUR_SECONDS + 1)
    await story.says("took too long")
    job = await story.until(State.FAILED)
    assert (job.reason, job.paid) == ("render_timeout", 1)

    story.akool.faults.clear()
    await story.call_back()
    assert (await story.until(State.FAILED)).story == job.story
    assert not any(message.video for message in chat.messages)


async def test_whatever_a_question_is_answered_the_job_goes_on_until_the_video_is_there(polled_story: Story) -> None:
    """A status nobody knows, a completion without a URL, refusals, garbage, silence."""
    story = polled_story
    odd = [
        rendered(1),
        rendered(99),
        rendered(3),
        rendered(3, video_url="https://akool.test/input.mp4"),
        JSONResponse({"code": 1008, "msg": "does not exist"}),
        JSONResponse({"code": 1101, "msg": "expired"}),
        PlainTextResponse("<html>", 500),
        PlainTextResponse("<html>"),
        HangUp(),
    ]
    story.akool.faults.extend(Fault(LOOK, response) for response in odd)
    asked = len(story.akool.questions)
    await story.begin()
    await story.video()

    assert len(story.akool.questions) - asked == len(odd) + 1
    assert story.creates == 1
