"""Memory of the bot's process with many jobs rendering at once: `python -m benchmarks.memory`.

One job is brought to AKOOL by the bot. While the bot is stopped its row is copied for the other chats, which saves
minutes, and means that all of them wait for one render. Started again, the bot asks AKOOL about each of them, tells
each chat how it stands, and serves a job besides.
"""

import asyncio
from time import time

from sqlalchemy import insert, select

from benchmarks.rounds import begin, play, status, until
from benchmarks.stage import BOT, Program, Stage, staged
from bot.clock import Clock
from bot.sandbox import Chat
from storage.database import open_database
from storage.schema import calls, jobs

_JOBS = 1000
_WATCHED_SECONDS = 10


async def main() -> None:
    async with staged() as stage:
        first, *others = stage.chats(_JOBS, first_id=100_000)
        async with stage.running(BOT) as bot:
            _print_memory("started, nothing to do", bot)
            await begin(stage, [first])
            _print_memory("one job rendering", bot)
        await _copy_for(others, stage)
        async with stage.running(BOT) as bot:
            await until(stage, lambda: all(map(status, others)) and len(stage.akool.questions) >= len(others))
            _print_memory(f"{_JOBS} jobs rendering, each asked about and told of", bot)
            await play(stage, bot, 1)
            _print_memory("after a whole job besides", bot)
            await _watch(stage, bot)
            _print_memory("in the end", bot)


async def _copy_for(chats: list[Chat], stage: Stage) -> None:
    """Give each chat a job that is rendering and has no status message yet."""
    async with (
        open_database(f"sqlite:///{stage.data / 'bot.sqlite3'}", now=Clock().now) as database,
        database.begin() as connection,
    ):
        job = (await connection.execute(select(jobs))).one()._asdict()
        call = (await connection.execute(select(calls))).one()._asdict()
        fresh = {"due_at": database.now(), "claim": None, "status_message_id": None, "status_shown": None}
        copies = [
            job | fresh | {"id": chat.id, "chat_id": chat.id, "user_id": chat.id, "status_at": database.now()}
            for chat in chats
        ]
        await connection.execute(insert(jobs), copies)
        await connection.execute(
            insert(calls), [call | {"token": f"copy-{chat.id}", "job_id": chat.id} for chat in chats]
        )


async def _watch(stage: Stage, bot: Program) -> None:
    """What it costs to let them render: status messages, chat actions, questions to AKOOL."""
    began_at, cpu_before = time(), bot.cpu_seconds()
    calls_before, questions_before = len(stage.telegram.calls), len(stage.akool.questions)
    await asyncio.sleep(_WATCHED_SECONDS)
    seconds = time() - began_at
    cpu = (bot.cpu_seconds() - cpu_before) / seconds
    told = (len(stage.telegram.calls) - calls_before) / seconds
    asked = (len(stage.akool.questions) - questions_before) / seconds
    print(f"while they render: {cpu:.0%} of a core, {told:.0f} Bot API calls and {asked:.0f} questions a second")


def _print_memory(moment: str, bot: Program) -> None:
    """What is resident, and what of it is the process's own: the rest is mapped from files, such as libraries."""
    memory = bot.process.memory_full_info()
    print(f"{moment}: {memory.rss / (1 << 20):.0f} MB resident, {memory.uss / (1 << 20):.0f} MB its own")


if __name__ == "__main__":
    asyncio.run(main())
