"""What 200,000 jobs that have ended cost those that go on: `python -m benchmarks.history [URL of an empty database]`.

The loops' queues are asked what they are asked at each turn, first in an empty database and then in one with a past;
so is what `/metrics` and `/status` ask. Without a URL the database is a new SQLite file.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from sqlalchemy import text

from benchmarks.past import fill
from bot.clock import Clock
from bot.worker import Queue
from storage.alarms import Alarms
from storage.database import Database, open_database
from storage.job import OPEN
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.quotas import Limits, Quotas
from storage.reports import Reports
from storage.statuses import Statuses
from storage.updates import Updates

_ENDED = 200_000
_TIMES = 50
_SOMEBODY = 1_000_000
_ROOM = {"at_akool": 8, "spend_limit": 100}
_LOOPS = ("jobs", "admission", "statuses", "updates", "alarms")

Ask = Callable[[], Awaitable[object]]


async def main() -> None:
    with TemporaryDirectory() as folder:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{Path(folder, 'bot.sqlite3')}"
        async with open_database(url, now=Clock().now) as database:
            await _times(database)  # the first questions cost more
            size, before = await _size(database), await _times(database)
            await fill(database, _ENDED)
            if database.is_postgres:  # as its autovacuum does by itself
                async with database.begin() as connection:
                    await connection.execute(text("ANALYZE"))
            grown, after = await _size(database) - size, await _times(database)
    for name, took_ms in after.items():
        print(f"{name}: {before[name]:.2f} ms → {took_ms:.2f} ms, x {took_ms / before[name]:.1f}")
    turn, turn_before = (sum(times[name] for name in _LOOPS) for times in (after, before))
    print(f"a turn of the loops, {_ENDED} ended jobs : none = {turn / turn_before:.2f}")
    print(f"{grown / _ENDED:.0f} bytes for each ended job, with its call and one update")


def _questions(database: Database) -> Mapping[str, Ask]:
    """What is asked at each turn of the loops, and for each `/metrics`, `/status` and `/admin`."""
    jobs, ledger, updates = Jobs(database), Ledger(database), Updates(database)

    def turn(queue: Queue[object]) -> Ask:
        async def ask() -> None:
            await queue.next_due()
            await queue.claim(32, lease_ms=1000)

        return ask

    async def admission() -> None:
        await ledger.may_admit(**_ROOM)
        await ledger.admit(**_ROOM, lease_ms=1000, most=8)

    async def metrics() -> None:
        await jobs.counts()
        await jobs.oldest_queued_at()
        await updates.count_set_aside()

    async def status() -> None:
        await jobs.list(states=OPEN, user_id=_SOMEBODY, limit=20)
        await Quotas(database).left(_SOMEBODY, _SOMEBODY, Limits(daily=20, spend=100))
        await jobs.render_times()

    return {
        "jobs": turn(jobs),
        "admission": admission,
        "statuses": turn(Statuses(database)),
        "updates": turn(updates),
        "alarms": turn(Alarms(database)),
        "/metrics": metrics,
        "/status": status,
        "/admin": Reports(database).today,
    }


async def _times(database: Database) -> dict[str, float]:
    """The median of each, in ms."""
    return {name: await _time(ask) for name, ask in _questions(database).items()}


async def _time(ask: Ask) -> float:
    took = []
    for _ in range(_TIMES):
        began = perf_counter()
        await ask()
        took.append((perf_counter() - began) * 1000)
    return median(took)


async def _size(database: Database) -> int:
    question = (
        "SELECT pg_database_size(current_database())"
        if database.is_postgres
        else "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    )
    async with database.begin() as connection:
        return int((await connection.execute(text(question))).scalar_one())


if __name__ == "__main__":
    asyncio.run(main())
