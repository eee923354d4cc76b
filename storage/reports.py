"""How the bot is doing, for its operator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from sqlalchemy import func, select

from storage.database import Database
from storage.job import COLUMNS, Job, State
from storage.jobs import Jobs
from storage.quotas import spent_today
from storage.schema import jobs
from storage.updates import Updates

_DAY_MS = 24 * 3600 * 1000
_WEEK_MS = 7 * _DAY_MS
_MOST_ERRORS = 5


@dataclass(frozen=True, slots=True)
class Report:
    """`by_state`: open jobs. `…_today` is of the last 24 hours; `last_errors` of the last week, newest first."""

    by_state: Mapping[State, int]
    delivered_today: int
    failed_today: int
    median_render_ms: int | None
    last_errors: Sequence[Job]
    spent_today: int
    set_aside: int


class Reports:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._jobs = Jobs(database)
        self._updates = Updates(database)

    async def today(self) -> Report:
        now = self._database.now()
        by_state = await self._jobs.counts()
        set_aside = await self._updates.count_set_aside()
        ended = select(jobs.c.state, func.count()).where(jobs.c.updated_at > now - _DAY_MS).group_by(jobs.c.state)
        renders = select(jobs.c.rendered_at - jobs.c.submitted_at).where(jobs.c.rendered_at > now - _DAY_MS)
        failed = (
            select(*COLUMNS)
            .where(jobs.c.state == State.FAILED, jobs.c.updated_at > now - _WEEK_MS)
            .order_by(jobs.c.updated_at.desc(), jobs.c.id.desc())
            .limit(_MOST_ERRORS)
        )
        async with self._database.begin() as connection:
            today = {State(state): count for state, count in await connection.execute(ended)}
            times = [took_ms for took_ms in await connection.scalars(renders) if took_ms is not None]
            return Report(
                by_state=by_state,
                delivered_today=today.get(State.DELIVERED, 0),
                failed_today=today.get(State.FAILED, 0),
                median_render_ms=int(median(times)) if times else None,
                last_errors=[Job.of(row) for row in await connection.execute(failed)],
                spent_today=await spent_today(connection, now),
                set_aside=set_aside,
            )
