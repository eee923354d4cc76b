"""The operator's commands: for `ADMIN_USERS` alone, and without a restart."""

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from bot import texts
from bot.clock import Clock
from bot.sandbox import BotApi
from bot.sandbox.chats import Chat
from clocks import TurnableClock
from databases import insert_job
from media_samples import sound
from scenes import all_handled, ask, job_in, passing, says, video_in
from storage.database import open_database
from storage.job import SUBMIT_UNKNOWN, State
from storage.peers import Access, Peer, Peers
from storage.schema import calls
from world import PHOTO, World, world

VOICE = sound(seconds=1)
BOSS: Any = {"admin_users": "9", "allowed_users": "8"}


@pytest.fixture
def telegram() -> BotApi:
    return BotApi()


def boss(here: World) -> Chat:
    return here.telegram.private_chat(9, first_name="Boss")


async def send_pair(chat: Chat) -> None:
    await chat.send_photo(PHOTO)
    await chat.send_voice(VOICE)


async def test_who_is_let_in_can_be_changed_and_outlives_a_restart(tmp_path: Path, telegram: BotApi) -> None:
    """`/deny` counts before the settings' list; an admin by the settings can't be shut out."""
    async with world(tmp_path, telegram=telegram, **BOSS) as here:
        bob = telegram.private_chat(8, first_name="Bob")
        assert (await ask(here.ada, "/start")).text == texts.STRANGER.format(id=here.ada.id)
        assert (await ask(boss(here), f"/allow {here.ada.id}")).text == texts.NOW_ALLOWED.format(id=here.ada.id)
        assert (await ask(here.ada, "/start")).text == texts.WELCOME
        assert (await ask(boss(here), "/deny 8")).text == texts.NOW_DENIED.format(id=8)
        assert (await ask(bob, "/start")).text == texts.STRANGER.format(id=8)
        assert (await ask(boss(here), "/deny 9")).text == texts.CANT_DENY_ADMIN.format(id=9)

    async with world(tmp_path, **BOSS) as here:
        assert (await ask(here.ada, "/help")).text.startswith("1. Send a photo")
        listed = (await ask(boss(here), "/allowed")).text
        assert texts.ALLOWED_BY_COMMAND.format(ids=here.ada.id) in listed
        assert texts.DENIED_BY_COMMAND.format(ids=8) in listed
        assert texts.ALLOWED_BY_SETTINGS.format(users="8, 9", chats=texts.NOBODY) in listed


async def test_a_group_can_be_let_in(tmp_path: Path, telegram: BotApi) -> None:
    async with world(tmp_path, telegram=telegram, **BOSS) as here:
        group, ada = telegram.group(), telegram.user(here.ada.id)
        await ask(group, "/start", by=ada)
        await ask(boss(here), f"/allow {group.id}")
        assert (await ask(group, "/start", by=ada)).text == texts.WELCOME_GROUP


async def test_nobody_else_is_obeyed(tmp_path: Path, telegram: BotApi) -> None:
    """Nor told that there are such commands."""
    async with world(tmp_path, telegram=telegram, admin_users="9") as here:
        group = telegram.group()
        for user_id, command in enumerate(texts.ADMIN_COMMANDS, 100):
            assert (await ask(telegram.private_chat(user_id), f"/{command} 7")).text == texts.WHAT_I_NEED
            await group.send_text(f"/{command} 7", by=telegram.user(user_id))
        await all_handled(here)
        assert not [message for message in group.messages if message.is_from_bot]


async def test_a_limit_of_one_s_own(tmp_path: Path, telegram: BotApi) -> None:
    async with world(tmp_path, telegram=telegram, admin_users="9") as here:
        await ask(boss(here), f"/limit {here.ada.id} 1")
        await send_pair(here.ada)
        await video_in(here.ada)
        assert "You have 0 more videos today." in (await ask(here.ada, "/status")).text
        await send_pair(here.ada)
        await says(here.ada, texts.FAILURES["daily_limit"])
        assert (await ask(boss(here), f"/limit {here.ada.id} 0")).text == texts.LIMIT_GONE.format(id=here.ada.id)
        assert "today" not in (await ask(here.ada, "/status")).text


async def test_pause_and_resume(tmp_path: Path, telegram: BotApi) -> None:
    """Nothing is submitted meanwhile, and whoever waits is told why; then it goes on by itself."""
    clock = TurnableClock()
    async with world(tmp_path, telegram=telegram, clock=clock, admin_users="9") as here:
        assert (await ask(boss(here), "/pause")).text == texts.PAUSED
        await send_pair(here.ada)
        await passing(here, clock, here.ada, says(here.ada, texts.STATUS_HALTED))
        assert texts.ADMIN_PAUSED in (await ask(boss(here), "/admin")).text
        assert not here.akool.creates
        assert (await ask(boss(here), "/resume")).text == texts.RESUMED
        await passing(here, clock, here.ada, video_in(here.ada))


async def test_the_story_of_a_job_and_another_try(tmp_path: Path, telegram: BotApi) -> None:
    async with world(tmp_path, telegram=telegram, admin_users="9") as here:
        here.akool.fail_next_render("nobody knows")
        await send_pair(here.ada)
        job = await job_in(here, here.ada, State.FAILED)
        story = (await ask(boss(here), f"/job {job.id}")).text
        for word in ("collecting", "rendering", "failed (render_failed)", "create: accepted", str(job.akool_id)):
            assert word in story
        assert str(job.photo_key) not in story

        overview = (await ask(boss(here), "/admin")).text
        assert texts.ADMIN_CREDIT.partition("{")[0] in overview
        assert "Last 24 hours: 0 delivered, 1 failed (0% success), paid calls: 0" in overview
        assert f"render_failed (/job {job.id})" in overview

        assert (await ask(boss(here), f"/retry {job.id}")).text == texts.RETRIED.format(id=job.id)
        await video_in(here.ada)
        assert (await ask(boss(here), f"/retry {job.id}")).text == texts.CANT_RETRY.format(id=job.id)
        assert "1 delivered, 1 failed (50% success), paid calls: 1" in (await ask(boss(here), "/admin")).text


def length(text: str) -> int:
    """As Telegram counts it, in UTF-16."""
    return len(text.encode("utf-16-le")) // 2


MANY = range(10**17, 10**17 + 300)


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_a_list_of_any_length_fits_into_a_message_and_tells_how_many_more_there_are(language: str) -> None:
    peers = [
        *(Peer(-peer_id, access=Access.ALLOWED, daily_limit=999_999) for peer_id in MANY),
        *(Peer(peer_id, access=Access.DENIED) for peer_id in MANY),
    ]
    ids = [str(-peer_id) for peer_id in MANY]
    said = texts.allowed(texts.words_for(language), peers, users=ids, chats=ids).text
    assert length(said) <= 4096
    lists = re.findall(r"-?1\d{17}(?:: 999999)?(?:, [-:\d ]+)*… \+(\d+)", said)
    assert len(lists) == 5
    assert sum(map(int, lists)) + len(re.findall(r"1\d{17}", said)) == 5 * len(MANY)


async def test_the_longest_answers_of_commands_fit_into_a_message(tmp_path: Path, telegram: BotApi) -> None:
    """Telegram refuses longer ones, and then nothing would be said at all."""
    (tmp_path / "data").mkdir()
    now = Clock().now()
    asked = {"chat_id": 9, "user_id": 9, "reason": SUBMIT_UNKNOWN, "due_at": now + 10**9, "submitted_at": now}
    async with open_database(f"sqlite:///{tmp_path}/data/bot.sqlite3", now=Clock().now) as database:
        restless = await insert_job(database, State.FAILED, timeline=f"submitting {now}\nqueued {now}\n" * 100)
        async with database.begin() as connection:
            call = {"job_id": restless.id, "created_at": now, "closed_at": now}
            await connection.execute(insert(calls), [call | {"token": str(number)} for number in range(99)])
        for _ in range(30):
            await insert_job(database, State.SUBMITTING, **asked)
        for _ in range(10):
            await insert_job(database, State.FAILED, reason="render_failed_" + "x" * 50)
        for peer_id in MANY:
            await Peers(database).choose(peer_id, access=Access.ALLOWED, daily_limit=999_999)
    async with world(tmp_path, telegram=telegram, admin_users="9"):
        wordy = telegram.private_chat(9, first_name="Boss", language_code="de")
        for command in (f"/job {restless.id}", "/status", "/cancel", "/admin", "/allowed", "/history"):
            assert (await ask(wordy, command)).text


MISTAKES = [
    ("/allow", texts.NEEDS_ID.format(example="/allow 123456789")),
    ("/deny Bob", texts.NEEDS_ID.format(example="/deny 123456789")),
    ("/limit 7", texts.NEEDS_LIMIT.format(example="/limit 123456789 20")),
    ("/limit 7 many", texts.NEEDS_LIMIT.format(example="/limit 123456789 20")),
    ("/job", texts.NEEDS_ID.format(example="/job 12")),
    ("/retry x", texts.NEEDS_ID.format(example="/retry 12")),
    ("/job 404", texts.NO_SUCH_JOB.format(id=404)),
    ("/retry 404", texts.NO_SUCH_JOB.format(id=404)),
]


async def test_what_is_not_understood_gets_an_example(tmp_path: Path, telegram: BotApi) -> None:
    async with world(tmp_path, telegram=telegram, admin_users="9") as here:
        answers = [(command, (await ask(boss(here), command)).text) for command, _ in MISTAKES]
    assert answers == MISTAKES


async def test_where_akool_can_t_be_asked_the_overview_says_so(tmp_path: Path, telegram: BotApi) -> None:
    async with world(tmp_path, telegram=telegram, admin_users="9") as here:
        here.akool.fail("quota", http_status=500, times=1000)
        assert texts.ADMIN_CREDIT_UNKNOWN in (await ask(boss(here), "/admin")).text
