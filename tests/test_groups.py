"""In groups: spoken to, the bot asks for what is missing; not spoken to, it is silent. Privacy mode is on."""

from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
import pytest_asyncio

from bot import texts
from bot.sandbox import BotApi
from bot.sandbox.chats import Chat, Message
from media_samples import portrait, saved, sound
from scenes import all_handled, ask, job_in, new_chat, says, toast, video_in
from storage.job import State
from world import PHOTO, World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

VOICE = sound(seconds=1)
_ids = count(1)

Raw = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world"), akool_max_concurrent=100) as here:
        yield here


@pytest.fixture
def group(here: World) -> Chat:
    return here.telegram.group(-1_002_000_000_000 - next(_ids), title="Friends")


@pytest.fixture
def ada(here: World) -> Raw:
    return here.telegram.user(5000 + next(_ids), first_name="Ada")


@pytest.fixture
def bob(here: World) -> Raw:
    return here.telegram.user(6000 + next(_ids), first_name="Bob")


def markup(chat: Chat, message: Message) -> Raw:
    """The `reply_markup` that a message of the bot's was sent with."""
    sent = [call for call in chat.history if call.name == "sendMessage" and call.parameters["text"] == message.text]
    return dict(sent[-1].parameters.get("reply_markup") or {})


async def question(chat: Chat, words: str, *, to: Message) -> Message:
    """The question that quotes this message."""
    return await chat.wait_for(
        lambda message: message.is_from_bot and words in message.text and message.reply_to_id == to.id
    )


def said(chat: Chat) -> list[Message]:
    return [message for message in chat.messages if message.is_from_bot]


async def settled(here: World, group: Chat) -> None:
    """Wait until nothing but videos is left of what the bot said."""
    await here.telegram.wait_until(lambda: all(message.video for message in said(group)))


# --- the three ways of /talk ---


async def test_talk_alone_asks_for_a_photo_and_then_for_a_voice(here: World, group: Chat, ada: Raw) -> None:
    """By ForceReply for the asker alone, with a placeholder; in the end only the video is left, under the voice."""
    command = await group.send_text("/talk", by=ada)
    first = await question(group, texts.STATUS_NOTHING_YET_GROUP, to=command)
    assert markup(group, first) == {
        "force_reply": True,
        "selective": True,
        "input_field_placeholder": texts.PLACEHOLDER_PHOTO,
    }
    photo = await group.send_photo(PHOTO, by=ada, reply_to=first)
    second = await question(group, texts.STATUS_ONLY_PHOTO_GROUP, to=photo)
    assert markup(group, second)["input_field_placeholder"] == texts.PLACEHOLDER_VOICE
    assert first not in group.messages
    voice = await group.send_voice(VOICE, by=ada, reply_to=second)
    video = await video_in(group)
    assert video.reply_to_id == voice.id
    await settled(here, group)


async def test_talk_as_a_reply_takes_anybody_s_photo(here: World, group: Chat, ada: Raw, bob: Raw) -> None:
    """The question is for whoever said `/talk`, though the photo is somebody else's."""
    photo = await group.send_photo(PHOTO, by=bob)
    command = await group.send_text("/talk", by=ada, reply_to=photo)
    asked = await question(group, texts.STATUS_ONLY_PHOTO_GROUP, to=command)
    voice = await group.send_voice(VOICE, by=ada, reply_to=asked)
    assert (await video_in(group)).reply_to_id == voice.id
    assert (await job_in(here, group, State.DELIVERED)).user_id == ada["id"]


async def test_talk_as_a_reply_takes_anybody_s_voice(here: World, group: Chat, ada: Raw, bob: Raw) -> None:
    voice = await group.send_voice(VOICE, by=bob)
    command = await group.send_text("/talk@talking_photo_bot", by=ada, reply_to=voice)
    asked = await question(group, texts.STATUS_ONLY_VOICE_GROUP, to=command)
    await group.send_photo(PHOTO, by=ada, reply_to=asked)
    assert (await video_in(group)).reply_to_id == voice.id


async def test_talk_as_a_caption_takes_the_photo_and_the_voice_that_it_replies_to(
    here: World, group: Chat, ada: Raw, bob: Raw
) -> None:
    voice = await group.send_voice(VOICE, by=bob)
    await group.send_photo(PHOTO, caption="/talk", by=ada, reply_to=voice)
    assert (await video_in(group)).reply_to_id == voice.id


async def test_again_takes_the_last_photo_of_the_asker_in_the_group(
    here: World, group: Chat, ada: Raw, bob: Raw
) -> None:
    photo = await group.send_photo(PHOTO, by=bob)
    voice = await group.send_voice(VOICE, by=bob)
    await group.send_text("/talk", by=ada, reply_to=photo)
    await group.send_text("/talk", by=ada, reply_to=voice)
    await video_in(group)

    command = await group.send_text("/again", by=ada)
    asked = await question(group, texts.STATUS_ONLY_PHOTO_GROUP, to=command)
    second = await group.send_voice(VOICE, by=ada, reply_to=asked)
    await group.wait_for(lambda message: message.video and message.reply_to_id == second.id)
    refusal = await group.send_text("/again", by=bob)
    await question(group, texts.NO_PHOTO_YET, to=refusal)


# --- several at once ---


async def test_the_halves_of_several_people_never_mix(here: World, group: Chat) -> None:
    """Three ask at once, and answer in turns; each voice gets the photo of its own sender."""
    people = [here.telegram.user(7000 + next(_ids)) for _ in range(3)]
    photos = [saved(portrait(), "JPEG", quality=quality) for quality in (95, 85, 75)]
    voices = [sound(seconds=seconds) for seconds in (1, 1.5, 2)]
    commands = [await group.send_text("/talk", by=person) for person in people]
    firsts = [await question(group, texts.STATUS_NOTHING_YET_GROUP, to=command) for command in commands]
    sent = [
        await group.send_photo(photo, by=person, reply_to=first)
        for person, photo, first in zip(people, photos, firsts, strict=True)
    ]
    seconds = [await question(group, texts.STATUS_ONLY_PHOTO_GROUP, to=photo) for photo in sent]
    for person, voice, second in reversed(list(zip(people, voices, seconds, strict=True))):
        await group.send_voice(voice, by=person, reply_to=second)
    for _ in people:
        await settled(here, group)
    await here.telegram.wait_until(lambda: len([message for message in said(group) if message.video]) == 3)

    jobs = [job for job in await here.jobs() if job.chat_id == group.id]
    assert {job.user_id: (job.photo_message_id, round((job.voice_ms or 0) / 500)) for job in jobs} == {
        person["id"]: (photo.id, length) for person, photo, length in zip(people, sent, (2, 3, 4), strict=True)
    }


async def test_who_answers_somebody_else_s_question_begins_a_job_of_their_own(
    here: World, group: Chat, ada: Raw, bob: Raw
) -> None:
    command = await group.send_text("/talk", by=ada)
    first = await question(group, texts.STATUS_NOTHING_YET_GROUP, to=command)
    theirs = await group.send_photo(PHOTO, by=bob, reply_to=first)
    await question(group, texts.STATUS_ONLY_PHOTO_GROUP, to=theirs)
    assert first in group.messages
    jobs = [job for job in await here.jobs() if job.chat_id == group.id]
    assert [(job.user_id, job.photo_message_id) for job in jobs] == [(ada["id"], None), (bob["id"], theirs.id)]


async def test_words_instead_of_a_photo_are_asked_about_once_more(here: World, group: Chat, ada: Raw) -> None:
    command = await group.send_text("/talk", by=ada)
    first = await question(group, texts.STATUS_NOTHING_YET_GROUP, to=command)
    words = await group.send_text("which photo?", by=ada, reply_to=first)
    await question(group, texts.STATUS_NOTHING_YET_GROUP, to=words)
    assert first not in group.messages


async def test_a_button_in_a_group_is_for_who_asked(here: World, group: Chat, ada: Raw, bob: Raw) -> None:
    here.akool.fail_next_render("no face")
    photo = await group.send_photo(PHOTO, by=ada)
    await group.send_voice(VOICE, caption="/talk", by=ada, reply_to=photo)
    failure = await says(group, "the face in this photo")
    assert await toast(here.telegram, await group.press(failure, texts.BUTTON_OTHER_PHOTO, by=bob)) == texts.NOT_YOURS
    assert failure.buttons

    pressed = await group.press(failure, texts.BUTTON_OTHER_PHOTO, by=ada)
    assert await toast(here.telegram, pressed) == texts.SEND_PHOTO
    assert failure not in group.messages
    asked = await says(group, texts.STATUS_ONLY_VOICE_GROUP)
    await group.send_photo(PHOTO, by=ada, reply_to=asked)
    await video_in(group)


# --- topics ---


@pytest.mark.parametrize("topic", [7, None])
async def test_everything_stays_in_its_topic(here: World, ada: Raw, topic: int | None) -> None:
    """General, which has no id of its own, included."""
    forum = here.telegram.group(-1_003_000_000_000 - next(_ids), topics=[7])
    where: Raw = {"by": ada, "thread_id": topic}
    command = await forum.send_text("/talk", **where)
    first = await question(forum, texts.STATUS_NOTHING_YET_GROUP, to=command)
    photo = await forum.send_photo(PHOTO, reply_to=first, **where)
    second = await question(forum, texts.STATUS_ONLY_PHOTO_GROUP, to=photo)
    await forum.send_voice(VOICE, reply_to=second, **where)
    await video_in(forum)
    sent = [call for call in forum.history if call.name.startswith("send")]
    assert {call.parameters.get("message_thread_id") for call in sent} == {topic}


# --- silence ---


async def test_the_bot_is_silent_when_not_spoken_to(tmp_path: Any) -> None:
    """Also where it may read everything: chatter, mentions, others' commands, talk about its videos."""
    telegram = BotApi(reads_all_group_messages=True)
    group, ada = telegram.group(), telegram.user(7)
    async with world(tmp_path, telegram=telegram) as here:
        photo = await group.send_photo(PHOTO, by=ada)
        await group.send_voice(VOICE, caption="/talk", by=ada, reply_to=photo)
        video = await video_in(group)
        await settled(here, group)

        await group.send_text("Make me talk!", by=ada)
        await group.send_text("@talking_photo_bot hello", by=ada)
        await group.send_text("/talk@other_bot", by=ada, reply_to=photo)
        await group.send_text("/dance", by=ada)
        await group.send_text("/admin", by=ada)
        await group.send_photo(PHOTO, by=ada)
        await group.send_photo(PHOTO, caption="/talk@other_bot", by=ada)
        await group.send_voice(VOICE, by=ada, reply_to=photo)
        await group.send_photo(PHOTO, by=ada, reply_to=video)
        await group.send_text("how funny", by=ada, reply_to=video)
        words = await group.send_text("Who is that?", by=telegram.user(8))
        await group.send_photo(PHOTO, by=ada, reply_to=words)
        await group.send_sticker(PHOTO, by=ada)
        await all_handled(here)
        assert said(group) == [video]
        assert len(await here.jobs()) == 1
        assert len(here.akool.creates) == 1


# --- who speaks ---


async def test_an_anonymous_admin_is_known_by_the_group_and_has_no_quota(tmp_path: Any) -> None:
    """Many may be behind that identity; the group's limit holds."""
    telegram = BotApi()
    group = telegram.group()
    async with world(tmp_path, telegram=telegram, daily_limit=1, daily_limit_chat=2, max_pending_per_user=1) as here:
        about: Raw = {"by": group.anonymous_admin()}
        for _ in range(3):
            photo = await group.send_photo(PHOTO, **about)
            await group.send_voice(VOICE, caption="/talk", reply_to=photo, **about)
        await says(group, texts.FAILURES["daily_limit_chat"])
        await here.telegram.wait_until(lambda: len([message for message in said(group) if message.video]) == 2)
        assert {job.user_id for job in await here.jobs()} == {group.id}


async def test_made_up_data_gives_nobody_power_over_another_group(here: World, group: Chat, ada: Raw) -> None:
    """The admin of one group sends data that belongs under a message of another's anonymous admin."""
    photo = await group.send_photo(PHOTO, by=group.anonymous_admin())
    await group.send_text("/talk", by=group.anonymous_admin(), reply_to=photo)
    job = await job_in(here, group, State.COLLECTING)
    own = here.telegram.group(-1_005_000_000_000 - next(_ids))
    own.admins.add(ada["id"])
    await own.send_text("hi", by=ada)
    menu = await ask(own, "/help", by=ada)
    for data in (f"forget:{group.id}", f"stop:{job.id}", f"cancel:{job.id}"):
        menu.raw["reply_markup"] = {"inline_keyboard": [[{"text": "Go", "callback_data": data}]]}
        assert await toast(here.telegram, await own.press(menu, "Go", by=ada)) == texts.NOT_YOURS
    assert (await job_in(here, group, State.COLLECTING)).id == job.id


async def test_where_we_may_not_write_we_are_silent_and_go_on(here: World, group: Chat, ada: Raw) -> None:
    group.permissions["can_send_messages"] = False
    await group.bot_is("restricted", by=ada, can_send_messages=False)
    await group.send_text("/help", by=ada)
    await all_handled(here)
    await group.bot_is("member", by=ada)
    group.permissions["can_send_messages"] = True
    assert await ask(group, "/help", by=ada)


async def test_the_posts_of_a_linked_channel_are_nobody_s_words(here: World, group: Chat, ada: Raw) -> None:
    await group.send_photo(PHOTO, caption="/talk", by=group.linked_channel())
    await group.send_text("/help", by=ada)
    await here.telegram.wait_until(lambda: said(group))
    await all_handled(here)
    assert len(said(group)) == 1
    assert not [job for job in await here.jobs() if job.chat_id == group.id]


# --- being added ---


@pytest.fixture
def new_group(here: World) -> Chat:
    """A group that we are not in yet."""
    return here.telegram.group(-1_004_000_000_000 - next(_ids), title="<Friends & Co>", bot="left")


async def test_a_group_is_greeted_once_it_has_added_us(here: World, new_group: Chat, ada: Raw) -> None:
    """And nothing is said when we are made an admin later."""
    await new_group.bot_is("member", by=ada)
    await says(new_group, texts.WELCOME_GROUP)
    await new_group.bot_is("administrator", by=ada)
    await all_handled(here)
    assert [message.text for message in said(new_group)] == [texts.WELCOME_GROUP]


async def test_a_greeting_says_what_is_missing(here: World, new_group: Chat, ada: Raw) -> None:
    """Whether we alone are restricted, or nobody may send videos there."""
    await new_group.bot_is("restricted", by=ada, can_send_videos=False)
    assert texts.GROUP_LACKS_VIDEOS in (await says(new_group, texts.WELCOME_GROUP)).text
    await new_group.bot_is("left", by=ada)
    new_group.permissions["can_send_videos"] = False
    await new_group.bot_is("member", by=ada)
    await here.telegram.wait_until(lambda: len(said(new_group)) == 2)
    assert texts.GROUP_LACKS_VIDEOS in said(new_group)[1].text


async def test_where_we_may_not_write_whoever_added_us_is_told_in_private(here: World, new_group: Chat) -> None:
    chat = new_chat(here)
    await new_group.bot_is("restricted", by=here.telegram.user(chat.id), can_send_messages=False)
    assert "<Friends & Co>" in (await says(chat, "I may not write there")).text
    assert not said(new_group)


async def test_an_admin_bot_hears_everything_and_is_silent_all_the_same(here: World, new_group: Chat, ada: Raw) -> None:
    await new_group.bot_is("administrator", by=ada)
    await says(new_group, texts.WELCOME_GROUP)
    await new_group.send_text("Make me talk!", by=ada)
    await new_group.send_photo(PHOTO, by=ada)
    await new_group.send_voice(VOICE, by=ada)
    await all_handled(here)
    assert len(said(new_group)) == 1
    assert not [job for job in await here.jobs() if job.chat_id == new_group.id]


# --- chatter ---


async def test_a_group_may_keep_the_chatter(here: World, group: Chat, ada: Raw) -> None:
    """Only its admins may say so."""
    menu = await ask(group, "/settings", by=ada)
    pressed = await group.press(menu, texts.BUTTON_TIDIES, by=ada)
    assert await toast(here.telegram, pressed) == texts.FOR_GROUP_ADMINS
    group.admins.add(ada["id"])
    assert await toast(here.telegram, await group.press(menu, texts.BUTTON_TIDIES, by=ada)) == texts.SAVED
    assert texts.BUTTON_KEEPS in menu.buttons

    command = await group.send_text("/talk", by=ada)
    first = await question(group, texts.STATUS_NOTHING_YET_GROUP, to=command)
    photo = await group.send_photo(PHOTO, by=ada, reply_to=first)
    second = await question(group, texts.STATUS_ONLY_PHOTO_GROUP, to=photo)
    await group.send_voice(VOICE, by=ada, reply_to=second)
    await video_in(group)
    await job_in(here, group, State.DELIVERED)
    await all_handled(here)
    assert {first, second} <= set(group.messages)


async def test_the_buttons_of_an_anonymous_admin_are_for_the_group_s_admins(
    here: World, group: Chat, ada: Raw, bob: Raw
) -> None:
    somebody = group.anonymous_admin()
    await group.send_text("/talk", by=somebody)
    await says(group, texts.STATUS_NOTHING_YET_GROUP)
    menu = await ask(group, "/forget", by=somebody)
    assert await toast(here.telegram, await group.press(menu, texts.BUTTON_FORGET, by=bob)) == texts.NOT_YOURS
    group.admins.add(ada["id"])
    await group.send_text("It was me", by=ada)
    assert await toast(here.telegram, await group.press(menu, texts.BUTTON_FORGET, by=ada)) == texts.DONE
    assert not [job for job in await here.jobs() if job.chat_id == group.id]
