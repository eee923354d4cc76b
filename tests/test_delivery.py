"""The video gets into the chat: again and again until it is there, and not twice if that can be helped."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from starlette.responses import PlainTextResponse
from structlog.testing import capture_logs
from telegram import Bot
from telegram.constants import ChatAction

from bot.delivery import Delivery
from bot.limiter import Limiter
from bot.media import Studio
from bot.outcomes import DeliveryFailed
from bot.patience import LEASE_MS, SECOND_MS
from bot.sandbox import BotApi
from bot.sandbox.chats import Chat
from bot.sandbox.server import HangUp
from bot.sandbox.stand_in import Call, Fault
from bot.telegram import build_application
from bot.texts import Say
from clocks import TurnableClock
from databases import insert_job
from media_samples import video as sample
from scenes import ask_for_video, job_in, passing, reading, refusing, says, video_in
from storage.database import open_database
from storage.job import Job, State
from storage.jobs import Jobs
from storage.objects import LocalStore, MediaSigner, Verdict, new_key
from storage.rates import OwnRates
from world import VOICE, World, tiny_mp4, world

DAY_SECONDS = 24 * 3600
FLOOD_SECONDS = 600

in_module_loop = pytest.mark.asyncio(loop_scope="module")


# --- by itself: what is sent ---


class Desk:
    """A delivery by itself, between a store and a chat."""

    def __init__(self, bot: Bot, folder: Path, chat: Chat, clock: TurnableClock) -> None:
        self.bot, self.folder, self.chat, self.clock = bot, folder, chat, clock
        self.signer = MediaSigner([b"key"], "https://bot.test", now=lambda: clock.now() / 1000)
        self.store = LocalStore(folder / "media", self.signer)
        self.studio = Studio()

    def delivery(self, **options: int) -> Delivery:
        return Delivery(self.bot, self.studio, self.store, self.clock, self.folder, **options)  # type: ignore[arg-type]

    async def job(self, video: bytes) -> Job:
        """A job whose video is stored, and whose owner's voice note and status message are in the chat."""
        voice = await self.chat.send_voice(VOICE)
        status = await self.bot.send_message(self.chat.id, "Your video is ready")
        key = new_key("out", "mp4")
        (self.folder / "result").write_bytes(video)
        await self.store.put(key, self.folder / "result")
        async with open_database(f"sqlite:///{self.folder / 'bot.sqlite3'}", now=self.clock.now) as database:
            return await insert_job(
                database,
                State.DELIVERING,
                chat_id=self.chat.id,
                voice_message_id=voice.id,
                status_message_id=status.message_id,
                video_key=key,
            )


@pytest.fixture
def telegram() -> BotApi:
    return BotApi()


@pytest.fixture
async def desk(telegram: BotApi, tmp_path: Path) -> AsyncIterator[Desk]:
    clock = TurnableClock()
    async with telegram.serving() as url:
        application = build_application(telegram.token, url, Limiter(clock, OwnRates(clock.now)))
        async with application.bot:
            desk = Desk(application.bot, tmp_path, telegram.private_chat(), clock)
            await desk.store.start()
            yield desk
            desk.studio.close()


async def test_a_video_that_fits_is_sent_as_it_is(desk: Desk) -> None:
    job = await desk.job(tiny_mp4())
    delivery = desk.delivery(most_bytes=len(tiny_mp4()))
    async with delivery.parcel(job) as parcel:
        delivered = await delivery.send_video(job, parcel)

    message = desk.chat.find(delivered.message_id)
    assert message is not None
    assert message.file is not None
    assert message.file.data == tiny_mp4()
    assert message.reply_to_id == job.voice_message_id
    assert message.video is not None
    assert message.video["file_id"] == delivered.file_id


async def test_a_video_that_is_too_large_is_made_smaller(desk: Desk) -> None:
    large = sample(seconds=2, width=320, height=256, noisy=True)
    most_bytes = len(large) // 4
    job = await desk.job(large)
    delivery = desk.delivery(most_bytes=most_bytes)
    async with delivery.parcel(job) as parcel:
        delivered = await delivery.send_video(job, parcel)

    message = desk.chat.find(delivered.message_id)
    assert message is not None
    assert message.file is not None
    assert 0 < len(message.file.data) <= most_bytes
    assert message.video is not None
    assert (message.video["width"], message.video["height"], message.video["duration"]) == (320, 256, 2)
    assert list(desk.folder.glob("tmp*")) == [], "no temporary files are left"


@pytest.mark.parametrize("is_again", [False, True])
async def test_a_video_that_cant_be_made_small_enough_comes_as_a_link_that_expires(
    desk: Desk, *, is_again: bool
) -> None:
    job = await desk.job(tiny_mp4())
    delivery = desk.delivery(most_bytes=100)
    async with delivery.parcel(job) as parcel:
        deliver = delivery.turn_status_into_video if is_again else delivery.send_video
        delivered = await deliver(job, parcel)

    message = desk.chat.find(delivered.message_id)
    assert message is not None
    assert message.reply_to_id == job.voice_message_id
    assert "until January 21, 2027, 08:00 UTC" in message.text, "that is six days from this clock's now"
    *_, expires, signature, folder, name = message.text.split("/")
    url = (expires, signature, f"{folder}/{name}")
    assert url[2] == job.video_key
    desk.clock.turn(seconds=6 * DAY_SECONDS - 1)
    assert desk.signer.verify(*url) is Verdict.OK
    desk.clock.turn(seconds=1)
    assert desk.signer.verify(*url) is Verdict.EXPIRED


async def test_the_status_message_becomes_the_video_and_may_become_it_again(desk: Desk, telegram: BotApi) -> None:
    """The second time Telegram says that nothing changed, which is as good."""
    job = await desk.job(tiny_mp4())
    delivery = desk.delivery()
    async with delivery.parcel(job) as parcel:
        first = await delivery.turn_status_into_video(job, parcel)
        telegram.fail("editMessageMedia", 400, "Bad Request: message is not modified: specified new message content")
        second = await delivery.turn_status_into_video(job, parcel)

    assert first.message_id == second.message_id == job.status_message_id
    assert [message.video is not None for message in desk.chat.messages] == [False, True]


async def test_without_a_status_message_the_video_is_sent(desk: Desk) -> None:
    job = await desk.job(tiny_mp4())
    delivery = desk.delivery()
    await delivery.remove(job, job.status_message_id or 0)
    async with delivery.parcel(job) as parcel:
        delivered = await delivery.turn_status_into_video(job, parcel)

    assert delivered.message_id == desk.chat.messages[-1].id
    assert desk.chat.messages[-1].video is not None


async def test_what_is_gone_or_says_so_already_is_no_failure(desk: Desk) -> None:
    job = await desk.job(tiny_mp4())
    delivery = desk.delivery()
    status_id = job.status_message_id or 0

    assert await delivery.edit(job, status_id, Say("Almost there"))
    assert await delivery.edit(job, status_id, Say("Almost there"))
    await delivery.remove(job, status_id)
    await delivery.remove(job, status_id)
    desk.clock.turn(seconds=10)  # as not to write too often
    assert not await delivery.edit(job, status_id, Say("Almost there"))
    await delivery.show_action(job, ChatAction.UPLOAD_VIDEO)


async def turn_into_video(delivery: Delivery, job: Job) -> None:
    async with delivery.parcel(job) as parcel:
        await delivery.turn_status_into_video(job, parcel)


@pytest.mark.parametrize(
    ("method", "act"),
    [
        ("deleteMessage", lambda delivery, job: delivery.remove(job, job.status_message_id)),
        ("editMessageText", lambda delivery, job: delivery.edit(job, job.status_message_id, Say("Almost there"))),
        ("editMessageMedia", turn_into_video),
    ],
)
async def test_what_fails_for_now_is_told(
    method: str, act: Callable[[Delivery, Job], Awaitable[object]], desk: Desk, telegram: BotApi
) -> None:
    job = await desk.job(tiny_mp4())
    telegram.fail(method, 429, retry_after=7)
    with pytest.raises(DeliveryFailed) as caught:
        await act(desk.delivery(), job)

    assert caught.value.retry_after_seconds == 7
    assert not caught.value.may_be_sent


async def test_a_job_without_a_video_has_no_parcel(desk: Desk) -> None:
    job = replace(await desk.job(tiny_mp4()), video_key=None)
    with pytest.raises(ValueError, match=f"job {job.id} has no video"):
        await turn_into_video(desk.delivery(), job)


# --- in a world: until it is there ---


@pytest.fixture(scope="module")
def clock() -> TurnableClock:
    return TurnableClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory, clock: TurnableClock) -> AsyncIterator[World]:
    async with world(tmp_path_factory.mktemp("world"), clock=clock, akool_max_concurrent=100) as here:
        yield here


class Story:
    """One job in that world: its chat, and what goes wrong there and nowhere else."""

    def __init__(self, here: World, clock: TurnableClock, chat: Chat) -> None:
        self.here, self.clock, self.chat = here, clock, chat

    def goes_wrong(self, method: str, status: int, description: str | None = None, **about: int) -> None:
        self.here.telegram.fail(method, status, description, when=self.is_here, **about)  # type: ignore[arg-type]

    def fault(self, response: HangUp | PlainTextResponse, *, acts: bool) -> None:
        """Give such an answer to the next sendVideo."""
        self.here.telegram.faults.append(Fault("sendVideo", response, acts=acts, when=self.is_here))

    def is_here(self, call: Call) -> bool:
        """Whether a call is about this chat."""
        return call.parameters.get("chat_id") == self.chat.id

    async def finish(self) -> None:
        """Let the held render end."""
        await self.here.akool.finish(self.here.akool.videos[-1])

    async def until(self, *states: State) -> Job:
        return await passing(self.here, self.clock, self.chat, job_in(self.here, self.chat, *states))

    async def has_its_status(self) -> None:
        """Wait until the job's status message is sent and noted."""
        async with asyncio.timeout(60), reading(self.here) as database:
            while (await Jobs(database).list(chat_id=self.chat.id))[0].status_message_id is None:
                await asyncio.sleep(0.02)

    async def turn_within_the_lease(self) -> None:
        """Let time pass, but not faster than the lease of a job that is worked on is extended."""
        self.clock.turn(seconds=LEASE_MS / SECOND_MS / 3)
        async with asyncio.timeout(60), reading(self.here) as database:
            kept_until = 0
            while kept_until < self.clock.now() + LEASE_MS / 2:
                [job] = await Jobs(database).list(chat_id=self.chat.id)
                kept_until = job.due_at or 0

    async def tried(self, times: int) -> None:
        """Wait until so many sendVideo were made; no time passes meanwhile."""
        await self.here.telegram.wait_until(lambda: self.calls.count("sendVideo") >= times, timeout_seconds=60)

    async def tidied(self) -> None:
        """Wait until the bot has left nothing in the chat but videos."""
        gone = self.here.telegram.wait_until(
            lambda: all(message.video for message in self.chat.messages if message.is_from_bot), timeout_seconds=60
        )
        await passing(self.here, self.clock, self.chat, gone)

    @property
    def calls(self) -> list[str]:
        """The methods that brought a video into this chat, or tried to."""
        return [call.name for call in self.chat.history if call.name in ("sendVideo", "editMessageMedia")]

    @property
    def videos(self) -> int:
        return sum(message.video is not None for message in self.chat.messages)


@pytest_asyncio.fixture(loop_scope="module")
async def story(here: World, clock: TurnableClock) -> Story:
    """A job at AKOOL, whose render is held, with a status message in the chat."""
    here.akool.hold()
    story = Story(here, clock, await ask_for_video(here))
    await story.until(State.RENDERING)
    await passing(here, clock, story.chat, story.has_its_status())
    return story


@in_module_loop
async def test_a_429_holds_up_its_own_chat_and_no_other(story: Story, here: World) -> None:
    story.goes_wrong("sendVideo", 429, retry_after=100)
    await story.finish()
    await story.tried(1)

    other = await ask_for_video(here)
    await job_in(here, other, State.RENDERING)
    await here.akool.finish(here.akool.videos[-1])
    await video_in(other)  # while time stands still
    assert story.videos == 0

    job = await story.until(State.DELIVERED)
    (_, ready_at), (_, delivered_at) = job.story[-2:]
    assert delivered_at - ready_at >= 100_000
    assert story.calls == ["sendVideo"] * 2
    assert story.videos == 1


@in_module_loop
async def test_what_telegram_says_it_failed_to_do_is_sent_again(story: Story) -> None:
    story.goes_wrong("sendVideo", 500, times=2)
    await story.finish()
    await story.until(State.DELIVERED)

    assert story.calls == ["sendVideo"] * 3
    assert story.videos == 1


@in_module_loop
@pytest.mark.parametrize(
    ("response", "acts"),
    [(HangUp(), True), (HangUp(), False), (PlainTextResponse("<html>Bad Gateway", 502), True)],
    ids=["answer lost", "request lost", "gateway"],
)
async def test_where_the_answer_is_lost_the_status_message_becomes_the_video(
    response: HangUp | PlainTextResponse, *, acts: bool, story: Story
) -> None:
    """Whoever has the video already gets no second ping; whoever has it not gets it."""
    story.fault(response, acts=acts)
    await story.finish()
    job = await story.until(State.DELIVERED)

    assert story.calls == ["sendVideo", "editMessageMedia"]
    shown = story.chat.find(job.video_message_id)
    assert shown is not None
    assert shown.video is not None
    assert story.videos == (2 if acts else 1)
    assert job.video_message_id == min(message.id for message in story.chat.messages if message.is_from_bot)


@in_module_loop
async def test_a_delivery_that_cant_be_noted_at_once_is_held_on_to(story: Story, here: World) -> None:
    """Who has heard Telegram's yes need not send again."""
    with capture_logs() as logged:
        async with refusing(here, "UPDATE OF video_message_id ON jobs"):
            await story.finish()
            await story.tried(1)
            while sum("can't be noted" in line["event"] for line in logged) < 3:  # which is said once a minute
                await story.turn_within_the_lease()
        await story.until(State.DELIVERED)

    assert story.calls == ["sendVideo"]


@in_module_loop
@pytest.mark.parametrize("method", ["editMessageText", "sendChatAction", "deleteMessage"])
async def test_a_flood_of_status_edits_never_holds_up_the_video(method: str, story: Story) -> None:
    story.goes_wrong(method, 429, retry_after=FLOOD_SECONDS, times=1000)
    began_at = story.clock.now()
    await story.finish()
    await story.until(State.DELIVERED)

    assert story.calls == ["sendVideo"]
    assert story.clock.now() - began_at < FLOOD_SECONDS * 1000


@in_module_loop
async def test_a_status_that_cant_be_taken_away_at_once_is_taken_away_later(story: Story) -> None:
    """It would lie for ever beside the video."""
    story.goes_wrong("deleteMessage", 500, times=3)
    await story.finish()
    await story.until(State.DELIVERED)
    await story.tidied()


@in_module_loop
async def test_a_failure_is_told_once_however_often_the_status_message_resists(story: Story) -> None:
    story.goes_wrong("deleteMessage", 500, times=3)
    story.here.akool.fail_next_render("no face")
    await story.finish()
    await story.until(State.FAILED)
    gone = story.here.telegram.wait_until(
        lambda: sum(call.name == "deleteMessage" for call in story.chat.history) > 3, timeout_seconds=60
    )
    await passing(story.here, story.clock, story.chat, gone)

    assert sum("the face in this photo" in message.text for message in story.chat.messages) == 1
    assert sum(message.is_from_bot for message in story.chat.messages) == 1


@in_module_loop
async def test_a_status_that_cant_be_edited_is_replaced(story: Story) -> None:
    story.goes_wrong("editMessageText", 400, "Bad Request: message can't be edited", times=1000)
    await story.finish()
    await story.until(State.DELIVERED)
    await story.tidied()


@in_module_loop
async def test_where_the_status_message_is_gone_too_the_video_is_sent_again(story: Story) -> None:
    story.fault(HangUp(), acts=True)
    story.goes_wrong("sendMessage", 500, times=1000)  # or there would be another status message
    for message in [message for message in story.chat.messages if message.is_from_bot]:
        await story.chat.delete(message)
    await story.finish()
    await story.until(State.DELIVERED)

    assert story.calls == ["sendVideo", "editMessageMedia", "sendVideo"]
    assert story.videos == 2


@in_module_loop
async def test_whoever_has_blocked_us_gets_the_video_after_speaking_to_us_again(story: Story) -> None:
    story.goes_wrong("send*", 403, "Forbidden: bot was blocked by the user", times=3)
    await story.finish()
    await story.tried(1)
    await story.chat.send_text("/start", reply_to=None)
    await passing(story.here, story.clock, story.chat, video_in(story.chat))

    assert (await story.until(State.DELIVERED)).video_key


@in_module_loop
async def test_where_we_stay_blocked_the_job_ends_and_the_video_is_kept(story: Story) -> None:
    story.goes_wrong("*", 403, "Forbidden: bot was blocked by the user", times=1000)
    await story.finish()
    await story.tried(1)
    story.clock.turn(seconds=30 * DAY_SECONDS)
    job = await story.until(State.FAILED)

    assert job.reason == "undeliverable"
    assert len(story.calls) <= 3, "nobody is bothered for thirty days"
    assert Path(story.here.settings.media_store, job.video_key or "").read_bytes() == tiny_mp4()


@in_module_loop
async def test_what_telegram_does_not_take_for_a_day_is_given_up_with_a_clear_word(story: Story) -> None:
    story.goes_wrong("sendVideo", 500, times=1000)
    await story.finish()
    await story.tried(1)
    story.clock.turn(seconds=DAY_SECONDS)
    job = await story.until(State.FAILED)
    await passing(story.here, story.clock, story.chat, says(story.chat, "Telegram would not take the video"))

    assert job.reason == "undeliverable"
    assert Path(story.here.settings.media_store, job.video_key or "").read_bytes() == tiny_mp4()


@in_module_loop
async def test_a_video_that_may_be_there_is_not_sent_again_whatever_becomes_of_the_edit(story: Story) -> None:
    """A refused edit says nothing about the first try."""
    story.fault(HangUp(), acts=True)
    story.goes_wrong("editMessageMedia", 429, retry_after=5)
    story.goes_wrong("editMessageMedia", 500, times=2)
    await story.finish()
    await story.until(State.DELIVERED)

    assert story.calls == ["sendVideo", *["editMessageMedia"] * 4]
    assert story.videos == 2


@in_module_loop
async def test_a_video_that_was_refused_is_kept_and_sent_again_for_nothing(story: Story) -> None:
    creates = len(story.here.akool.creates)
    story.goes_wrong("sendVideo", 500, times=1000)
    await story.finish()
    await story.tried(1)
    story.clock.turn(seconds=DAY_SECONDS)
    await story.until(State.FAILED)
    refusal = await passing(story.here, story.clock, story.chat, says(story.chat, "I've kept it"))

    story.here.telegram.faults.clear()
    await story.chat.press(refusal, "Try again")
    await passing(story.here, story.clock, story.chat, video_in(story.chat))
    assert len(story.here.akool.creates) == creates


async def test_the_operator_hears_once_that_telegram_takes_no_videos_and_once_that_it_does(tmp_path: Path) -> None:
    """However many jobs that concerns."""
    clock = TurnableClock()
    async with world(tmp_path, clock=clock, admin_users="1") as here:
        operator = here.telegram.private_chat(user_id=1)
        here.telegram.fail("sendVideo", 500, times=10_000)
        chats = [await ask_for_video(here) for _ in range(2)]
        for chat in chats:
            await passing(here, clock, chat, job_in(here, chat, State.DELIVERING))
        clock.turn(seconds=DAY_SECONDS)
        for chat in chats:
            await passing(here, clock, chat, job_in(here, chat, State.FAILED))
        await passing(here, clock, chats[0], says(operator, "Telegram does not take videos"))

        here.telegram.faults.clear()
        chat = await ask_for_video(here)
        await passing(here, clock, chat, video_in(chat))
        await passing(here, clock, chat, says(operator, "Telegram takes videos again"))
        assert len(operator.messages) == 2


@in_module_loop
async def test_status_messages_that_fail_never_hold_a_job_up(here: World, clock: TurnableClock) -> None:
    story = Story(here, clock, await ask_for_video(here))
    for method in ("sendMessage", "editMessageText", "sendChatAction", "deleteMessage"):
        story.goes_wrong(method, 500, times=1000)
    await job_in(here, story.chat, State.RENDERING)
    await story.finish()
    await video_in(story.chat)  # while time stands still

    assert story.calls == ["sendVideo"]


@in_module_loop
async def test_a_voice_note_that_was_deleted_gets_its_video_all_the_same(story: Story) -> None:
    for message in [message for message in story.chat.messages if not message.is_from_bot]:
        await story.chat.delete(message)
    await story.finish()
    video = await passing(story.here, story.clock, story.chat, video_in(story.chat))

    assert video.reply_to_id is None
