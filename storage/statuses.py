"""When each job's status message wants a look: a second queue over the same rows.

It is apart from the job's own `due_at`, so that a slow or failing edit never holds a job up. A look is claimed as jobs
are, so that two never speak at once; what changes meanwhile rings, and is looked at when the look is over.
"""

import secrets
from collections.abc import Sequence

from sqlalchemy import Integer, bindparam, case, select, update

from storage.database import Database, among
from storage.job import COLUMNS, Job
from storage.schema import jobs

# Built once, since it runs many times a job, and building it costs more than running it.
_CLAIM = (
    update(jobs)
    .where(
        among(
            jobs.c.id,
            select(jobs.c.id)
            .where(jobs.c.status_at <= bindparam("now"))
            .order_by(jobs.c.status_at)
            .limit(bindparam("most", type_=Integer))
            .with_for_update(skip_locked=True),
        )
    )
    .values(status_claim=bindparam("claimed_by"), status_at=bindparam("until"), status_rung=0)
    .returning(*COLUMNS)
)


class Statuses:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, most: int, *, lease_ms: int) -> Sequence[Job]:
        """Take up to so many jobs whose status message is due."""
        now = self._database.now()
        claim = {"now": now, "most": most, "claimed_by": secrets.token_hex(8), "until": now + lease_ms}
        async with self._database.begin() as connection:
            return [Job.of(row) for row in await connection.execute(_CLAIM, claim)]

    async def next_due(self) -> int | None:
        return await self._database.earliest(jobs.c.status_at)

    async def keep(
        self, job: Job, *, look_at: int | None, message_id: int | None, shown: str | None, shown_at: int | None
    ) -> bool:
        """Note what the chat sees now, and when to look again (None: not unless the job changes).

        False, and nothing noted, where somebody else has taken the look over.
        """
        now = self._database.now()
        values = {
            "status_message_id": message_id,
            "status_shown": shown,
            "status_shown_at": shown_at,
            "status_at": case((jobs.c.status_rung == 1, now), else_=look_at),
            "status_claim": None,
            "status_rung": 0,
        }
        ours = (jobs.c.id == job.id) & (jobs.c.status_claim == job.status_claim)
        async with self._database.begin() as connection:
            kept = await connection.execute(update(jobs).where(ours).values(**values).returning(jobs.c.id))
            return kept.one_or_none() is not None

    async def release_all(self) -> None:
        """Give back every claim of a process that is gone. Only for the sole process on a database."""
        now = self._database.now()
        async with self._database.begin() as connection:
            await connection.execute(
                update(jobs)
                .where(jobs.c.status_at.isnot(None), jobs.c.status_claim.isnot(None))
                .values(status_claim=None, status_at=now)
            )
