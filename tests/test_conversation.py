"""What the bot says: its commands, who is let in, limits, the queue, and the one status message of each job."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from bot import texts
from bot.sandbox import Akool, BotApi
from bot.sandbox.chats import Chat, Message
from bot.sandbox.videos import Video
from clocks import TurnableClock
from media_samples import portrait, quarters, saved, sound
from scenes import all_handled, ask, job_in, new_chat, says, toast, video_in
from storage.job import State
from world import World, render_cheaply, world

PHOTO = saved(portrait(), "JPEG")
FACELESS = saved(quarters(), "JPEG")
VOICE = sound(seconds=1)
DAY_SECONDS = 24 * 3600
Found = TypeVar("Found")

shared = pytest.mark.asyncio(loop_scope="module")


def patient_akool() -> Akool:
    """It finishes nothing by itself."""
    akool = Akool(renderer=render_cheaply)
    akool.hold()
    return akool


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """The world of the tests that need no clock and no settings of their own."""
    telegram = BotApi(reads_all_group_messages=True)
    async with world(tmp_path_factory.mktemp("world"), telegram=telegram, akool=patient_akool()) as here:
        yield here


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


async def send_pair(chat: Chat) -> Message:
    await chat.send_photo(PHOTO)
    return await chat.send_voice(VOICE)


async def rendering(here: World, chat: Chat) -> Video:
    """What AKOOL renders for the chat's newest job, once it does."""
    job = await job_in(here, chat, State.RENDERING)
    return next(video for video in here.akool.videos if video.id == job.akool_id)


async def passing(clock: TurnableClock, event: Coroutine[Any, Any, Found]) -> Found:
    """Let second after second pass until something has come."""
    waiting = asyncio.create_task(event)
    while not (await asyncio.wait({waiting}, timeout=0.1))[0]:
        clock.turn(seconds=1)
    return await waiting


def from_bot(chat: Chat) -> list[str]:
    return [message.text for message in chat.messages if message.is_from_bot]


# --- commands ---


@shared
@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("/start", texts.WELCOME),
        ("/start@talking_photo_bot from_a_link", texts.WELCOME),
        ("/help", texts.HELP.format(max_voice="2 minutes")),
        ("/status", f"{texts.NOTHING_OPEN}\nYou have 20 more videos today."),
        ("/cancel", texts.NOTHING_OPEN),
    ],
)
async def test_a_command_is_answered(here: World, command: str, text: str) -> None:
    assert (await ask(new_chat(here), command)).text == text


@shared
async def test_status_tells_where_each_open_job_stands(here: World) -> None:
    """Oldest first, and the asker's own only."""
    ada, bob = new_chat(here), new_chat(here)
    await send_pair(bob)
    await send_pair(ada)
    await rendering(here, ada)
    await ada.send_voice(VOICE)
    await job_in(here, ada, State.COLLECTING)

    first, second, left = (await ask(ada, "/status")).text.splitlines()
    assert left == "You have 19 more videos today."
    assert first.startswith("1. Your video is being made.")
    assert second in {f"2. {texts.STATUS_RECEIVING}", f"2. {texts.STATUS_LAST_PHOTO}"}


@shared
async def test_cancel_is_free_while_nothing_is_spent(here: World) -> None:
    """The status message goes, and what comes next begins anew."""
    ada = new_chat(here)
    await ada.send_photo(PHOTO)
    status = await says(ada, texts.STATUS_ONLY_PHOTO)
    assert (await ask(ada, "/cancel")).text == texts.CANCELLED
    await here.telegram.wait_until(lambda: status not in ada.messages)
    assert (await ask(ada, "/status")).text.startswith(texts.NOTHING_OPEN)

    await ada.send_voice(VOICE)
    assert not (await job_in(here, ada, State.COLLECTING)).photo_key


@shared
async def test_cancel_asks_once_it_is_paid_and_then_no_video_comes(here: World) -> None:
    ada = new_chat(here)
    await send_pair(ada)
    video = await rendering(here, ada)
    question = await ask(ada, "/cancel")
    assert question.text == texts.ALREADY_PAID

    assert await toast(here.telegram, await ada.press(question, texts.BUTTON_CANCEL_ANYWAY)) == texts.CANCELLED_PAID
    await here.akool.finish(video)
    await here.akool.wait_until(lambda: video.callbacks)
    assert (await ask(ada, "/status")).text.startswith(texts.NOTHING_OPEN)
    assert (await job_in(here, ada, State.CANCELLED)).paid
    assert not question.buttons
    assert "sendVideo" not in {call.name for call in ada.history}


# --- buttons ---


@shared
async def test_a_button_is_for_the_owner_of_the_job(here: World) -> None:
    ada = new_chat(here)
    await ada.send_photo(FACELESS)
    question = await says(ada, texts.STATUS_NO_FACE)
    query_id = await ada.press(question, texts.BUTTON_USE_ANYWAY, by=here.telegram.user(666, first_name="Mallory"))
    assert await toast(here.telegram, query_id) == texts.NOT_YOURS
    assert question.buttons
    assert not (await job_in(here, ada, State.COLLECTING)).photo_accepted


@shared
@pytest.mark.parametrize(
    "data",
    ["", ":", "anyway", "anyway:", "anyway:-1", "anyway:999999999", "anyway:" + "9" * 50, "anyway:²", "1; DROP", None],
)
async def test_a_button_that_makes_no_sense_does_nothing(here: World, data: str | None) -> None:
    ada = new_chat(here)
    answer = await ask(ada, "/help")
    query: dict[str, Any] = {"id": f"q{ada.id}", "from": ada._owner, "message": answer.raw, "chat_instance": "1"}
    if data is not None:
        query["data"] = data
    await here.telegram.updates.add("callback_query", query, lane="")
    assert await toast(here.telegram, query["id"]) == texts.TOO_LATE


@shared
@pytest.mark.parametrize("what", ["anyway", "risk", "leave", "again", "dance"])
async def test_a_button_that_is_over_does_nothing(here: World, what: str) -> None:
    ada = new_chat(here)
    await send_pair(ada)
    job = await job_in(here, ada, State.RENDERING)
    answer = await ask(ada, "/help")
    answer.raw["reply_markup"] = {"inline_keyboard": [[{"text": "Go", "callback_data": f"{what}:{job.id}"}]]}
    assert await toast(here.telegram, await ada.press(answer, "Go")) == texts.TOO_LATE
    assert (await job_in(here, ada, State.RENDERING)).id == job.id


@shared
async def test_a_button_under_a_message_that_is_gone_is_answered(here: World) -> None:
    """Telegram shows a button's message as inaccessible when it was deleted, or is too old."""
    ada = new_chat(here)
    await ada.send_photo(FACELESS)
    question = await says(ada, texts.STATUS_NO_FACE)
    await ada.delete(question)
    assert await toast(here.telegram, await ada.press(question, texts.BUTTON_USE_ANYWAY)) == texts.USED
    assert await ask(ada, "/help"), "the chat's next update is not held up"


@shared
async def test_a_press_of_somebody_who_blocks_us_right_after_is_done_all_the_same(here: World) -> None:
    """... and its update is not tried again and again, nor set aside."""
    ada = new_chat(here)
    await ada.send_photo(FACELESS)
    question = await says(ada, texts.STATUS_NO_FACE)
    here.telegram.fail("editMessageReplyMarkup", 403, "Forbidden: bot was blocked by the user")
    here.telegram.fail("answerCallbackQuery", 403, "Forbidden: bot was blocked by the user")
    await ada.press(question, texts.BUTTON_USE_ANYWAY)
    await all_handled(here)
    assert (await job_in(here, ada, State.COLLECTING)).photo_accepted
    assert await ask(ada, "/help")
    assert not [fault for fault in here.telegram.faults if fault.times]


# --- who is let in ---


@shared
async def test_in_a_group_only_commands_are_answered(here: World) -> None:
    group, ada = here.telegram.group(), here.telegram.user(7)
    await group.send_photo(PHOTO, by=ada)
    await group.send_voice(VOICE, by=ada)
    await group.send_text("Make me talk!", by=ada)
    await group.send_sticker(PHOTO, by=ada)
    await ask(group, "/help", by=ada)  # handled last, since a chat's updates are handled in order
    assert len(from_bot(group)) == 1
    assert not [job for job in await here.jobs() if job.chat_id == group.id]


async def test_nobody_is_let_in_by_default_and_is_told_so_once_an_hour(tmp_path: Path, clock: TurnableClock) -> None:
    async with world(tmp_path, clock=clock, allowed_users="") as here:
        assert (await ask(here.ada, "/start")).text == texts.STRANGER.format(id=here.ada.id)
        clock.turn(seconds=3000)
        await send_pair(here.ada)
        await all_handled(here)
        clock.turn(seconds=600)
        await ask(here.ada, "/help")
        assert from_bot(here.ada) == [texts.STRANGER.format(id=here.ada.id)] * 2
        assert await here.jobs() == []


async def test_the_allowed_are_let_in_by_person_or_by_chat(tmp_path: Path) -> None:
    telegram = BotApi()
    friends, others = telegram.group(-1001), telegram.group(-1002)
    whom: dict[str, Any] = {"allowed_users": "8", "admin_users": "9", "allowed_chats": "-1001"}
    async with world(tmp_path, telegram=telegram, akool=None, clock=None, **whom) as here:
        bob, admin = (telegram.private_chat(user_id) for user_id in (8, 9))
        ada = telegram.user(here.ada.id)
        for chat, about in ((bob, {}), (admin, {}), (friends, {"by": ada}), (others, {"by": telegram.user(8)})):
            assert (await ask(chat, "/start", **about)).text in {texts.WELCOME, texts.WELCOME_GROUP}
        assert (await ask(here.ada, "/start")).text == texts.STRANGER.format(id=here.ada.id)

        told = await ask(others, "/start", by=ada)
        assert told.text == texts.STRANGERS.format(id=ada["id"], chat_id=others.id)
        await others.send_text("/start", by=ada)
        await ask(others, "/start", by=telegram.user(8))
        assert len(from_bot(others)) == 3, "a stranger is told once an hour"


# --- limits ---


async def test_the_daily_limit_counts_what_was_made_and_not_what_failed_for_free(
    tmp_path: Path, clock: TurnableClock
) -> None:
    async with world(tmp_path, clock=clock, daily_limit=1) as here:
        here.akool.fail_next_render("no face")
        await send_pair(here.ada)
        await says(here.ada, texts.COST_NOTHING)
        clock.turn(seconds=60)

        await send_pair(here.ada)
        await video_in(here.ada)
        clock.turn(seconds=60)

        voice = await send_pair(here.ada)
        refusal = await says(here.ada, texts.FAILURES["daily_limit"].format(daily_limit=1))
        assert refusal.reply_to_id == voice.id
        assert len(here.akool.creates) == 2

        clock.turn(seconds=DAY_SECONDS)
        await send_pair(here.ada)
        await job_in(here, here.ada, State.DELIVERED)
        assert len(here.akool.creates) == 3


async def test_who_has_fewer_jobs_at_akool_comes_first(tmp_path: Path, clock: TurnableClock) -> None:
    """Two places, both Ada's: her third job waits, and so does Bob's, which came later but goes on sooner."""
    akool = patient_akool()
    async with world(tmp_path, akool=akool, clock=clock, akool_max_concurrent=2) as here:
        telegram = here.telegram
        bob = telegram.private_chat(8, first_name="Bob")
        for _ in range(2):
            await send_pair(here.ada)
            await rendering(here, here.ada)
            clock.turn(seconds=9)
        for chat, place in ((here.ada, 1), (bob, 2)):
            await send_pair(chat)
            await job_in(here, chat, State.QUEUED)
            await passing(clock, says(chat, texts.STATUS_QUEUED.format(place=place)))
            clock.turn(seconds=9)
        assert len(akool.creates) == 2

        await akool.finish(akool.videos[0])
        await job_in(here, bob, State.RENDERING)
        assert (await job_in(here, here.ada, State.QUEUED, State.RENDERING)).state is State.QUEUED

        which = await ask(here.ada, "/cancel")
        assert which.text == texts.CANCEL_WHICH
        *_, waiting = which.buttons.values()
        assert await toast(telegram, await here.ada.press(which, waiting)) == texts.CANCELLED, "it was only queued"
        assert len(akool.creates) == 3


# --- the status message ---


async def test_one_status_message_tells_the_whole_story(tmp_path: Path, clock: TurnableClock) -> None:
    """It is edited, ten seconds apart at least, and gone when the video is there."""
    telegram = BotApi(now=lambda: clock.now() / 1000)
    akool = patient_akool()
    async with world(tmp_path, telegram=telegram, akool=akool, clock=clock, akool_max_concurrent=1) as here:
        ada, bob = here.ada, telegram.private_chat(8, first_name="Bob")
        await send_pair(bob)
        first = await rendering(here, bob)
        await ada.send_photo(PHOTO)
        status = await says(ada, texts.STATUS_ONLY_PHOTO)
        await ada.send_voice(VOICE)
        await passing(clock, says(ada, texts.STATUS_QUEUED.format(place=1)))
        await akool.finish(first)
        await passing(clock, says(ada, "Your video is being made."))
        telegram.fail("sendVideo", 500, times=3)  # for longer than the status keeps still between edits
        await akool.finish(await rendering(here, ada))
        await passing(clock, says(ada, texts.STATUS_SENDING))
        await passing(clock, video_in(ada))
        await telegram.wait_until(lambda: status not in ada.messages)

        edits = [call for call in ada.history if call.name == "editMessageText"]
        assert {call.parameters["message_id"] for call in edits} == {status.id}
        assert [call.name for call in ada.history].count("sendMessage") == 1
        # They arrive a moment after they were sent, and time is turned meanwhile.
        assert all(after.at_ms - before.at_ms >= 5_000 for before, after in pairwise(edits))
        assert {call.parameters["action"] for call in ada.history if call.name == "sendChatAction"} == {
            "record_video",
            "upload_video",
        }


async def test_the_estimate_comes_from_past_renders(tmp_path: Path, clock: TurnableClock) -> None:
    akool = patient_akool()
    async with world(tmp_path, akool=akool, clock=clock) as here:
        await send_pair(here.ada)
        video = await rendering(here, here.ada)
        await passing(clock, says(here.ada, texts.ESTIMATE_UNKNOWN))
        clock.turn(seconds=600)
        await akool.finish(video)
        await video_in(here.ada)
        clock.turn(seconds=90)  # it is worked out once a minute

        await send_pair(here.ada)
        await rendering(here, here.ada)
        await passing(clock, says(here.ada, "About 10 minutes left."))
        estimates = ((560, texts.ESTIMATE_MINUTE), (60, texts.ESTIMATE_SOON), (300, texts.ESTIMATE_LATE))
        for seconds, estimate in estimates:
            clock.turn(seconds=seconds)
            await passing(clock, says(here.ada, estimate))
