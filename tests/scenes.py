"""What the tests of a running world do over and over."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing
from itertools import count
from typing import Any, TypeVar

from bot.clock import Clock
from bot.sandbox import BotApi
from bot.sandbox.chats import Chat, Message
from clocks import TurnableClock
from media_samples import sound
from storage.database import Database, open_reader
from storage.job import CHAT_GONE, SUBMIT_UNKNOWN, Job, State
from storage.jobs import Jobs
from storage.ledger import Call, Ledger
from storage.updates import Updates
from world import PHOTO, World

Found = TypeVar("Found")

_PATIENCE_SECONDS = 60  # for a machine that has much else to do

_people = count(1000)


def new_chat(here: World) -> Chat:
    """Somebody who has not written yet, so that tests which share a world stay apart."""
    return here.telegram.private_chat(user_id=next(_people))


async def ask_for_video(here: World) -> Chat:
    """Somebody new sends a photo and a short voice note."""
    chat = new_chat(here)
    await send_pair(chat)
    return chat


async def send_pair(chat: Chat) -> None:
    """A photo and a short voice note."""
    await chat.send_photo(PHOTO)
    await chat.send_voice(sound(seconds=1))


async def video_in(chat: Chat) -> Message:
    """Wait for the video."""
    return await chat.wait_for(lambda message: message.video, timeout_seconds=_PATIENCE_SECONDS)


async def says(chat: Chat, words: str) -> Message:
    """Wait until the bot says this in the chat."""
    return await chat.wait_for(
        lambda message: message.is_from_bot and words in message.text, timeout_seconds=_PATIENCE_SECONDS
    )


async def ask(chat: Chat, text: str, **about: Any) -> Message:
    """Say something, and wait for the answer to it."""
    question = await chat.send_text(text, **about)
    return await chat.wait_for(lambda answer: answer.is_from_bot and answer.reply_to_id == question.id)


async def toast(telegram: BotApi, query_id: str) -> str:
    call = await telegram.wait_for_call(
        "answerCallbackQuery", when=lambda call: call.parameters["callback_query_id"] == query_id
    )
    return str(call.parameters["text"])


async def all_handled(here: World) -> None:
    """Wait until the bot has dealt with everything that was sent to it."""
    await here.telegram.wait_until(lambda: not here.telegram.updates.pending)
    async with asyncio.timeout(10), reading(here) as database:
        while await Updates(database).next_due() is not None:
            await asyncio.sleep(0.02)


async def job_in(here: World, chat: Chat, *states: State) -> Job:
    """The chat's newest job, once it is in one of the states. The file has no bell, so it is asked again."""
    async with asyncio.timeout(_PATIENCE_SECONDS), reading(here) as database:
        while True:
            for job in await Jobs(database).list(chat_id=chat.id, limit=1):
                if job.state in states:
                    return job
            await asyncio.sleep(0.02)


async def passing(here: World, clock: TurnableClock, chat: Chat, event: Coroutine[Any, Any, Found]) -> Found:
    """Let time pass until something has come: in one go where the chat's newest job only waits, else bit by bit."""
    waiting = asyncio.create_task(event)
    async with reading(here) as database:
        while not waiting.done():
            jobs = await Jobs(database).list(chat_id=chat.id, limit=1)
            clock.turn(seconds=_idle_seconds(jobs[0], clock) if jobs else 3)
            await asyncio.wait({waiting}, timeout=0.03)
    return await waiting


def _idle_seconds(job: Job, clock: TurnableClock) -> float:
    """How long to let the job wait: as long as it will, unless it is worked on or waits for somebody."""
    if job.claim is not None:
        return 0.3
    waits_for_somebody = job.state in {State.COLLECTING, State.RENDERING} or job.reason in {CHAT_GONE, SUBMIT_UNKNOWN}
    if job.due_at is None or waits_for_somebody:
        return 3
    return max(3, (job.due_at - clock.now()) / 1000)


async def calls_of(here: World, job: Job) -> list[Call]:
    """The ledger's lines about a job, oldest first."""
    async with reading(here) as database:
        return list(await Ledger(database).of_job(job.id))


@asynccontextmanager
async def reading(here: World) -> AsyncIterator[Database]:
    """The database as the commands see it beside the running service."""
    async with open_reader(here.settings.database_url.get_secret_value(), now=Clock().now) as database:
        yield database


async def delete_row(here: World, job: Job) -> None:
    """Take a job's row away, as forgetting its owner does."""
    path = here.settings.database_url.get_secret_value().removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        await asyncio.to_thread(connection.execute, "DELETE FROM jobs WHERE id = ?", (job.id,))


@asynccontextmanager
async def refusing(here: World, what: str) -> AsyncIterator[None]:
    """Let the database refuse such writes ("INSERT ON updates") until the end of the block, as on a full disk."""
    path = here.settings.database_url.get_secret_value().removeprefix("sqlite:///")
    refuse = f"CREATE TRIGGER full_disk BEFORE {what} BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    # In a thread, since a transaction of the service may have to end first.
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        await asyncio.to_thread(connection.execute, refuse)
        try:
            yield
        finally:
            await asyncio.to_thread(connection.execute, "DROP TRIGGER full_disk")
