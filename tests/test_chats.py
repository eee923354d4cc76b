"""What becomes of a chat while a video is made for it: blocked, moved, its topic closed. The video finds its way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from bot import texts
from bot.sandbox.chats import Chat, Message
from clocks import TurnableClock
from media_samples import sound
from scenes import job_in, new_chat, passing, reading, says, video_in
from storage.job import CHAT_GONE, Job, State
from storage.jobs import Jobs
from world import PHOTO, World, world

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOPIC = 5
BLOCKED = "Forbidden: bot was blocked by the user"


@pytest.fixture(scope="module")
def clock() -> TurnableClock:
    return TurnableClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory, clock: TurnableClock) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world"), clock=clock, akool_max_concurrent=100) as here:
        here.akool.hold()
        yield here


class Place:
    """A chat whose video is being rendered, and what goes wrong there and nowhere else."""

    def __init__(self, here: World, clock: TurnableClock, chat: Chat) -> None:
        self.here, self.clock, self.chat = here, clock, chat

    async def begin(self, **about: Any) -> Message:
        """Send both halves; returns the voice note, once the render is held at AKOOL."""
        await self.chat.send_photo(PHOTO, **about)
        voice = await self.chat.send_voice(sound(seconds=1), **about)
        await self.until(State.RENDERING)
        return voice

    def fail(self, method: str, status: int, description: str, **about: Any) -> None:
        chat_id = self.chat.id
        self.here.telegram.fail(
            method, status, description, when=lambda call: call.parameters.get("chat_id") == chat_id, **about
        )

    async def finish(self) -> None:
        await self.here.akool.finish(self.here.akool.videos[-1])

    async def until(self, *states: State) -> Job:
        return await passing(self.here, self.clock, self.chat, job_in(self.here, self.chat, *states))

    async def video(self, chat: Chat | None = None) -> Message:
        return await passing(self.here, self.clock, self.chat, video_in(chat or self.chat))

    @property
    def sent(self) -> int:
        return sum(call.name == "sendVideo" for call in self.chat.history)


@pytest.fixture
def place(here: World, clock: TurnableClock) -> Place:
    here.telegram.faults.clear()
    return Place(here, clock, new_chat(here))


async def job_waits_for_its_chat(place: Place) -> None:
    async def waits() -> None:
        async with asyncio.timeout(60), reading(place.here) as database:
            while (await Jobs(database).list(chat_id=place.chat.id, limit=1))[0].reason != CHAT_GONE:
                await asyncio.sleep(0.02)

    await passing(place.here, place.clock, place.chat, waits())


async def unblocks(place: Place) -> None:
    """Telegram tells of it before anything is written."""
    me, owner = place.here.telegram.me, place.here.telegram.user(place.chat.id)
    change = {
        "chat": place.chat.raw,
        "from": owner,
        "date": 1_800_000_000,
        "old_chat_member": {"user": me, "status": "kicked", "until_date": 0},
        "new_chat_member": {"user": me, "status": "member"},
    }
    await place.here.telegram.updates.add("my_chat_member", change, lane=f"chat {place.chat.id}")


async def writes(place: Place) -> None:
    await place.chat.send_text("hello?")


async def starts(place: Place) -> None:
    await place.chat.send_text("/start")


@pytest.mark.parametrize("speak", [unblocks, writes, starts])
async def test_whoever_blocked_us_gets_the_video_when_they_speak_to_us_again(
    speak: Callable[[Place], Awaitable[None]], place: Place, clock: TurnableClock
) -> None:
    """Until then nothing is sent, however long it takes."""
    voice = await place.begin()
    place.fail("*", 403, BLOCKED, times=1000)
    await place.finish()
    await job_waits_for_its_chat(place)
    sent = place.sent
    clock.turn(seconds=20 * 3600)
    await place.until(State.DELIVERING)
    assert place.sent == sent

    place.here.telegram.faults.clear()
    await speak(place)
    video = await place.video()
    assert video.reply_to_id == voice.id
    assert sum(message.video is not None for message in place.chat.messages) == 1


async def test_a_clear_word_waits_for_its_chat_too(place: Place) -> None:
    """A failure that could not be told is told when the chat is back."""
    await place.begin()
    place.fail("*", 403, BLOCKED, times=1000)
    place.here.akool.fail_next_render("no face")
    await place.finish()
    await place.until(State.FAILED)
    refused = place.here.telegram.wait_for_call(
        "sendMessage", when=lambda call: call.parameters.get("chat_id") == place.chat.id and "face" in str(call)
    )
    await passing(place.here, place.clock, place.chat, refused)

    place.here.telegram.faults.clear()
    await writes(place)
    await passing(place.here, place.clock, place.chat, says(place.chat, "the face in this photo"))


async def test_a_group_that_became_a_supergroup_gets_its_video_there(place: Place) -> None:
    """Whatever its messages were called before: those ids are others' there."""
    await place.begin()
    elsewhere = place.here.telegram.group(-1_000_000_000_000 - place.chat.id)
    bob = place.here.telegram.user(8)
    others = [elsewhere.add(bob, {"text": "hi"}, file=None, reply_to=None, thread_id=None).id for _ in range(20)]
    place.fail(
        "sendVideo",
        400,
        "Bad Request: group chat was upgraded to a supergroup chat",
        migrate_to_chat_id=elsewhere.id,
        times=1000,
    )
    await place.finish()
    video = await place.video(elsewhere)

    assert video.reply_to_id is None
    job = await passing(place.here, place.clock, elsewhere, job_in(place.here, elsewhere, State.DELIVERED))
    assert job.chat_id == elsewhere.id
    assert not {call.parameters.get("message_id") for call in elsewhere.history} & {*others}


async def test_a_refusal_for_a_group_that_became_a_supergroup_is_said_there(place: Place) -> None:
    elsewhere = place.here.telegram.group(-1_000_000_000_000 - place.chat.id)
    await place.chat.send_photo(PHOTO)
    await passing(place.here, place.clock, place.chat, says(place.chat, texts.STATUS_ONLY_PHOTO))
    upgraded = "Bad Request: group chat was upgraded to a supergroup chat"
    place.fail("sendMessage", 400, upgraded, migrate_to_chat_id=elsewhere.id, times=1000)
    await place.chat.send_voice(sound(seconds=0.1))

    await passing(place.here, place.clock, elsewhere, says(elsewhere, texts.REFUSALS["sound_too_short"]))


async def test_a_move_that_telegram_tells_of_moves_the_jobs_before_anything_fails(place: Place) -> None:
    await place.begin()
    elsewhere = place.here.telegram.group(-1_000_000_000_000 - place.chat.id)
    await place.chat.send_text("", migrate_to_chat_id=elsewhere.id)
    await passing(place.here, place.clock, elsewhere, job_in(place.here, elsewhere, State.RENDERING))
    await place.finish()

    assert await place.video(elsewhere)
    assert place.sent == 0


async def test_a_video_for_a_topic_goes_there_and_elsewhere_once_it_is_closed(place: Place) -> None:
    place.chat.topics = frozenset({TOPIC})
    await place.begin(thread_id=TOPIC)
    place.chat.topics = frozenset()
    await place.finish()
    video = await place.video()

    assert "message_thread_id" not in video.raw
    tried = [call.parameters.get("message_thread_id") for call in place.chat.history if call.name == "sendVideo"]
    assert tried == [TOPIC, None]


async def test_where_a_reply_is_refused_since_the_voice_note_is_gone_the_video_comes_without(place: Place) -> None:
    """`allow_sending_without_reply` should do; not every server knows it."""
    await place.begin()
    place.here.telegram.fail(
        "sendVideo",
        400,
        "Bad Request: message to be replied not found",
        times=1000,
        when=lambda call: call.parameters.get("reply_parameters") is not None,
    )
    await place.finish()

    assert (await place.video()).reply_to_id is None


def actions_in(chat: Chat) -> int:
    return sum(call.name == "sendChatAction" for call in chat.history)


async def test_nothing_is_said_to_be_in_the_making_while_only_somebody_is_waited_for(place: Place) -> None:
    """For a chat that has blocked us up to thirty days, every ten seconds."""
    await place.begin()
    place.fail("sendVideo", 403, "Forbidden: bot was blocked by the user", times=1000)
    await place.finish()
    await job_waits_for_its_chat(place)
    shown = actions_in(place.chat)
    for _ in range(10):
        place.clock.turn(seconds=10)
        await looked_at(place)

    assert actions_in(place.chat) == shown


async def looked_at(place: Place) -> None:
    """Wait until the job's status message has been looked at, and the next look is noted."""
    async with asyncio.timeout(60), reading(place.here) as database:
        while True:
            [job] = await Jobs(database).list(chat_id=place.chat.id, limit=1)
            if job.status_at is None or job.status_at > place.clock.now():
                return
            await asyncio.sleep(0.02)


async def test_where_videos_are_not_allowed_the_status_says_so_until_they_are(place: Place) -> None:
    """And the operator hears nothing of it: the group's admins must act."""
    await place.begin()
    place.fail("sendVideo", 400, "Bad Request: not enough rights to send videos to the chat", times=1000)
    await place.finish()
    await passing(place.here, place.clock, place.chat, says(place.chat, texts.STATUS_NOT_ALLOWED))

    place.here.telegram.faults.clear()
    await place.video()
    job = await passing(place.here, place.clock, place.chat, job_in(place.here, place.chat, State.DELIVERED))
    assert job.reason is None
