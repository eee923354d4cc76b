"""In a private chat: what counts as what, the last photo, what can be had again, and the next step after a failure."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bot import texts
from bot.sandbox import Akool, BotApi
from bot.sandbox.chats import Chat, Message
from clocks import TurnableClock
from media_samples import portrait, quarters, saved, sound
from scenes import all_handled, ask, job_in, new_chat, passing, says, toast, video_in
from storage.job import Job, State
from world import PHOTO, World, tiny_mp4, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOICE = sound(seconds=1)
ORIGIN = {"type": "hidden_user", "sender_user_name": "Bob", "date": 1}
FACELESS = saved(quarters(), "JPEG")
OTHER = saved(portrait(), "JPEG", quality=60)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world"), akool_max_concurrent=100) as here:
        yield here


@pytest.fixture
def ada(here: World) -> Chat:
    return new_chat(here)


async def jobs_of(here: World, chat: Chat) -> list[Job]:
    return [job for job in await here.jobs() if job.chat_id == chat.id]


async def edit(here: World, chat: Chat, message: Message, **fields: Any) -> None:
    message.raw |= {**fields, "edit_date": 1_800_000_000}
    await here.telegram.updates.add("edited_message", message.raw, lane=f"chat {chat.id}")


# --- the last photo ---


async def test_a_voice_without_a_photo_may_take_the_last_one(here: World, ada: Chat) -> None:
    """Nothing is used unasked; the button tells how long ago that photo was sent."""
    first = await ada.send_photo(PHOTO)
    await ada.send_voice(VOICE)
    await video_in(ada)
    voice = await ada.send_voice(VOICE)
    question = await says(ada, texts.STATUS_LAST_PHOTO)
    use_it, another = question.buttons
    assert use_it.startswith("Use the last photo (")
    assert another == texts.BUTTON_SEND_ANOTHER

    assert await toast(here.telegram, await ada.press(question, use_it)) == texts.USED
    await ada.wait_for(lambda message: message.video and message.reply_to_id == voice.id)
    assert {job.photo_message_id for job in await jobs_of(here, ada)} == {first.id}


async def test_another_photo_may_be_sent_instead_of_the_last(here: World, ada: Chat) -> None:
    await ada.send_photo(PHOTO)
    await ada.send_voice(VOICE)
    await video_in(ada)
    voice = await ada.send_voice(VOICE)
    question = await says(ada, texts.STATUS_LAST_PHOTO)
    pressed = await ada.press(question, texts.BUTTON_SEND_ANOTHER)
    assert await toast(here.telegram, pressed) == texts.SEND_PHOTO
    other = await ada.send_photo(OTHER)
    await ada.wait_for(lambda message: message.video and message.reply_to_id == voice.id)
    assert (await job_in(here, ada, State.DELIVERED)).photo_message_id == other.id
    use_it = f"last:{(await job_in(here, ada, State.DELIVERED)).id}"
    question.raw["reply_markup"] = {"inline_keyboard": [[{"text": "Use it", "callback_data": use_it}]]}
    assert await toast(here.telegram, await ada.press(question, "Use it")) == texts.TOO_LATE


async def test_again_asks_only_for_a_voice(here: World, ada: Chat) -> None:
    assert (await ask(ada, "/again")).text == texts.NO_PHOTO_YET
    photo = await ada.send_photo(PHOTO)
    await ada.send_voice(VOICE)
    await video_in(ada)
    await ada.send_text("/again")
    await says(ada, texts.STATUS_ONLY_PHOTO)
    voice = await ada.send_voice(VOICE)
    await ada.wait_for(lambda message: message.video and message.reply_to_id == voice.id)
    first, second = await jobs_of(here, ada)
    assert first.photo_key == second.photo_key
    assert second.photo_message_id == photo.id


async def test_again_gives_a_waiting_voice_the_last_photo(here: World, ada: Chat) -> None:
    await ada.send_photo(PHOTO)
    await ada.send_voice(VOICE)
    await video_in(ada)
    voice = await ada.send_voice(VOICE)
    await says(ada, texts.STATUS_LAST_PHOTO)
    await ada.send_text("/again")
    await ada.wait_for(lambda message: message.video and message.reply_to_id == voice.id)


async def test_what_wants_an_answer_is_said_anew_below_what_was_sent(here: World, ada: Chat) -> None:
    """Not edited into what stands further up, where nobody would see it."""
    await ada.send_voice(VOICE)
    status = await says(ada, texts.STATUS_ONLY_VOICE)
    photo = await ada.send_photo(FACELESS)
    question = await says(ada, texts.STATUS_NO_FACE)
    assert question.id > photo.id
    assert status not in ada.messages


# --- /talk ---


async def test_talk_in_private_asks_and_takes_what_comes(here: World, ada: Chat) -> None:
    await ada.send_text("/talk")
    await says(ada, texts.STATUS_NOTHING_YET)
    await ada.send_photo(PHOTO, caption="/talk")
    await says(ada, texts.STATUS_ONLY_PHOTO)
    await ada.send_voice(VOICE)
    await video_in(ada)
    assert len(await jobs_of(here, ada)) == 1


async def test_talk_may_reply_to_what_was_sent_before(here: World, ada: Chat) -> None:
    photo = await ada.send_photo(PHOTO)
    await says(ada, texts.STATUS_ONLY_PHOTO)
    await ada.send_text("/cancel")
    await says(ada, texts.CANCELLED)
    voice = await ada.send_voice(VOICE, caption="/talk", reply_to=photo)
    assert (await video_in(ada)).reply_to_id == voice.id


async def test_a_photo_in_another_chat_may_be_replied_to(here: World, ada: Chat) -> None:
    elsewhere = await new_chat(here).send_photo(PHOTO)
    external = {
        "origin": {"type": "hidden_user", "sender_user_name": "Bob", "date": 1},
        "photo": elsewhere.raw["photo"],
    }
    voice = await ada.send_voice(VOICE, external_reply=external)
    assert (await video_in(ada)).reply_to_id == voice.id


# --- albums ---


async def test_the_first_photo_of_an_album_counts_and_the_status_says_so(here: World, ada: Chat) -> None:
    photos = [await ada.send_photo(photo, media_group_id="a1") for photo in (PHOTO, OTHER, OTHER)]
    await says(ada, texts.STATUS_ONLY_ALBUM)
    await ada.send_voice(VOICE)
    await video_in(ada)
    [job] = await jobs_of(here, ada)
    assert job.photo_message_id == photos[0].id


async def test_a_voice_may_choose_a_photo_of_an_album(here: World, ada: Chat) -> None:
    photos = [await ada.send_photo(photo, media_group_id="a2") for photo in (PHOTO, OTHER)]
    await says(ada, texts.STATUS_ONLY_ALBUM)
    await ada.send_voice(VOICE, reply_to=photos[1])
    await video_in(ada)
    [job] = await jobs_of(here, ada)
    assert job.photo_message_id == photos[1].id


async def test_of_several_songs_sent_together_the_first_counts(here: World, ada: Chat) -> None:
    await ada.send_photo(PHOTO)
    songs = [await ada.send_audio(VOICE, media_group_id="a3") for _ in range(3)]
    assert (await video_in(ada)).reply_to_id == songs[0].id
    await all_handled(here)
    assert len(await jobs_of(here, ada)) == 1


# --- edited and forwarded ---


async def test_a_forwarded_pair_works(here: World, ada: Chat) -> None:
    await ada.send_photo(PHOTO, forward_origin=ORIGIN)
    voice = await ada.send_voice(VOICE, forward_origin=ORIGIN)
    assert (await video_in(ada)).reply_to_id == voice.id


async def test_an_edited_photo_replaces_the_first_as_long_as_the_voice_lacks(here: World, ada: Chat) -> None:
    photo = await ada.send_photo(PHOTO)
    await says(ada, texts.STATUS_ONLY_PHOTO)
    kept = (await job_in(here, ada, State.COLLECTING)).photo_key
    other = await new_chat(here).send_photo(OTHER)
    await edit(here, ada, photo, photo=other.raw["photo"])
    await all_handled(here)
    await ada.send_voice(VOICE)
    await video_in(ada)
    [job] = await jobs_of(here, ada)
    assert (job.photo_message_id, job.photo_key != kept) == (photo.id, True)

    await edit(here, ada, photo, caption="too late")
    await all_handled(here)
    assert len(await jobs_of(here, ada)) == 1


async def test_a_command_that_is_put_right_works_and_no_other_is_done_twice(here: World, ada: Chat) -> None:
    command = await ada.send_text("/tlak")
    await says(ada, texts.WHAT_I_NEED)
    await edit(here, ada, command, text="/talk")
    await says(ada, texts.STATUS_NOTHING_YET)
    await edit(here, ada, command, text="/cancel")
    await all_handled(here)
    assert (await job_in(here, ada, State.COLLECTING)).chat_id == ada.id


# --- the next step ---


@pytest.mark.parametrize(
    ("why", "buttons"),
    [
        ("no face", [texts.BUTTON_OTHER_PHOTO]),
        ("bad audio", [texts.BUTTON_OTHER_VOICE]),
        ("nobody knows", [texts.BUTTON_OTHER_PHOTO, texts.BUTTON_OTHER_VOICE, texts.BUTTON_AGAIN]),
    ],
)
async def test_a_failure_offers_what_may_help(here: World, ada: Chat, why: str, buttons: list[str]) -> None:
    """And what is pressed leads to a video, with the half that was good."""
    here.akool.fail_next_render(why)
    await ada.send_photo(PHOTO)
    await ada.send_voice(VOICE)
    failure = await ada.wait_for(lambda message: message.buttons)
    assert list(failure.buttons) == buttons
    first = await job_in(here, ada, State.FAILED)

    await ada.press(failure, buttons[-1])
    if buttons[-1] == texts.BUTTON_OTHER_PHOTO:
        await ada.send_photo(OTHER)
    elif buttons[-1] == texts.BUTTON_OTHER_VOICE:
        await ada.send_voice(VOICE)
    await video_in(ada)
    second = await job_in(here, ada, State.DELIVERED)
    assert (second.photo_key == first.photo_key) == (buttons[-1] != texts.BUTTON_OTHER_PHOTO)
    assert (second.voice_key == first.voice_key) == (buttons[-1] != texts.BUTTON_OTHER_VOICE)


async def test_a_button_pressed_twice_does_its_work_once(here: World, ada: Chat) -> None:
    here.akool.fail_next_render("nobody knows")
    await ada.send_photo(PHOTO)
    await ada.send_voice(VOICE)
    failure = await ada.wait_for(lambda message: message.buttons)
    presses = [await ada.press(failure, texts.BUTTON_AGAIN) for _ in range(2)]
    answers = [await toast(here.telegram, press) for press in presses]
    assert answers == [texts.WILL_TRY_AGAIN, texts.TOO_LATE]
    await video_in(ada)
    await all_handled(here)
    assert len(await jobs_of(here, ada)) == 2


# --- history and form ---


async def test_history_sends_a_video_again_by_its_file_id(here: World, ada: Chat) -> None:
    """At once, and without an upload; somebody else gets none of it."""
    assert (await ask(ada, "/history")).text == texts.NO_HISTORY
    await ada.send_photo(PHOTO)
    await ada.send_voice(VOICE)
    video = await video_in(ada)
    menu = await ask(ada, "/history")
    [label] = menu.buttons
    bob = here.telegram.user(new_chat(here).id)
    assert await toast(here.telegram, await ada.press(menu, label, by=bob)) == texts.NOT_YOURS

    for _ in range(2):
        assert await toast(here.telegram, await ada.press(menu, label)) == texts.HERE_IT_IS
    sent = [call.parameters["video"] for call in ada.history if call.name == "sendVideo"][1:]
    assert sent == [(video.video or {})["file_id"]] * 2


async def test_a_round_video_is_sent_as_a_note_and_again_as_one(here: World, ada: Chat) -> None:
    menu = await ask(ada, "/settings")
    assert await toast(here.telegram, await ada.press(menu, texts.BUTTON_SQUARE)) == texts.SAVED
    assert texts.BUTTON_ROUND in menu.buttons
    await ada.send_photo(PHOTO)
    voice = await ada.send_voice(VOICE)
    note = await ada.wait_for(lambda message: "video_note" in message.raw)
    assert note.reply_to_id == voice.id
    [call] = [call for call in ada.history if call.name == "sendVideoNote"]
    assert call.parameters["length"] == 64

    history = await ask(ada, "/history")
    [label] = history.buttons
    assert await toast(here.telegram, await ada.press(history, label)) == texts.HERE_IT_IS


async def test_where_notes_are_forbidden_or_too_long_the_video_comes_as_usual(here: World, ada: Chat) -> None:
    menu = await ask(ada, "/settings")
    await ada.press(menu, texts.BUTTON_SQUARE)
    here.telegram.fail(
        "sendVideoNote",
        400,
        "Bad Request: VOICE_MESSAGES_FORBIDDEN",
        when=lambda call: call.parameters.get("chat_id") == ada.id,
    )
    await ada.send_photo(PHOTO)
    await ada.send_voice(VOICE)
    await video_in(ada)
    assert not (await job_in(here, ada, State.DELIVERED)).is_round


async def test_a_long_video_is_no_note(tmp_path: Path) -> None:
    def render(_photo: Path, _audio: Path, target: Path) -> None:
        target.write_bytes(tiny_mp4(seconds=61))

    async with world(tmp_path, akool=Akool(renderer=render)) as here:
        menu = await ask(here.ada, "/settings")
        await here.ada.press(menu, texts.BUTTON_SQUARE)
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await here.video()


# --- quotas ---


async def test_more_than_a_few_at_a_time_are_refused_kindly(tmp_path: Path) -> None:
    """The refused one can be tried again with a press, when another is done."""
    async with world(tmp_path, max_pending_per_user=1) as here:
        here.akool.hold()
        ada = here.ada
        await ada.send_photo(PHOTO)
        await ada.send_voice(VOICE)
        await job_in(here, ada, State.RENDERING)
        await ada.send_photo(PHOTO)
        await ada.send_voice(VOICE)
        refusal = await says(ada, texts.FAILURES["too_many_pending"])
        assert len(here.akool.creates) == 1

        await here.akool.finish(here.akool.videos[0])
        await here.job_in(State.DELIVERED)
        assert await toast(here.telegram, await ada.press(refusal, texts.BUTTON_AGAIN)) == texts.WILL_TRY_AGAIN
        await job_in(here, ada, State.RENDERING)
        assert len(here.akool.creates) == 2


async def test_the_spend_limit_holds_for_everybody_and_ends_with_the_day(tmp_path: Path) -> None:
    clock = TurnableClock()
    async with world(tmp_path, telegram=BotApi(now=lambda: clock.now() / 1000), clock=clock, spend_limit_day=1) as here:
        bob = here.telegram.private_chat(8, first_name="Bob")
        await here.ada.send_photo(PHOTO)
        await here.ada.send_voice(VOICE)
        await passing(here, clock, here.ada, video_in(here.ada))
        await bob.send_photo(PHOTO)
        await bob.send_voice(VOICE)
        refusal = await passing(here, clock, bob, says(bob, texts.FAILURES["spend_limit"]))
        assert len(here.akool.creates) == 1

        clock.turn(seconds=24 * 3600)
        await bob.press(refusal, texts.BUTTON_AGAIN)
        await passing(here, clock, bob, video_in(bob))
        assert len(here.akool.creates) == 2


# --- /forget ---


async def test_forget_asks_once_and_leaves_nothing_of_a_person(tmp_path: Path) -> None:
    """No file, no job, no status message; the ledger's row stays, and a late callback is taken in peace."""
    async with world(tmp_path) as here:
        ada, bob = here.ada, here.telegram.private_chat(8, first_name="Bob")
        for chat in (ada, bob):
            await chat.send_photo(PHOTO)
            await chat.send_voice(VOICE)
            await job_in(here, chat, State.DELIVERED)
        here.akool.hold()
        await ada.send_photo(PHOTO)
        await ada.send_voice(VOICE)
        await job_in(here, ada, State.RENDERING)
        render = here.akool.videos[-1]

        question = await ask(ada, "/forget")
        assert await toast(here.telegram, await ada.press(question, texts.BUTTON_FORGET_NOT)) == texts.NOT_FORGOTTEN
        assert len(await jobs_of(here, ada)) == 2

        question = await ask(ada, "/forget")
        assert await toast(here.telegram, await ada.press(question, texts.BUTTON_FORGET)) == texts.DONE
        assert question.text == texts.FORGOTTEN
        assert await jobs_of(here, ada) == []
        [kept] = await jobs_of(here, bob)
        left = {path.name for path in (here.settings.data_dir / "media").rglob("*") if path.is_file()}
        assert left == {Path(key or "").name for key in (kept.photo_key, kept.voice_key, kept.video_key)}

        await here.akool.finish(render)
        await here.akool.wait_until(lambda: render.callbacks)
        assert {callback.http_status for callback in render.callbacks} == {200}
        await all_handled(here)
        assert [message.text for message in ada.messages if message.is_from_bot and not message.video] == [
            texts.NOT_FORGOTTEN,
            texts.FORGOTTEN,
        ]
