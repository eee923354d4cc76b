"""Forgetting a person: their jobs end and go. The ledger's rows stay, since they are about money."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select

from storage import peers
from storage.database import Database
from storage.job import COLUMNS, OPEN, TERMINAL, Job, State
from storage.jobs import change_all, entered
from storage.ledger import close_open_calls
from storage.quotas import forgotten_video, is_counted
from storage.schema import jobs, notices

FORGOTTEN = "forgotten"


class Forgetting:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def cancel_all(self, user_id: int) -> Sequence[Job]:
        """End a person's open jobs, whoever has them; returns all that the person has, as they were before."""
        now = self._database.now()
        theirs = select(*COLUMNS).where(jobs.c.user_id == user_id).order_by(jobs.c.id).with_for_update()
        ended = entered(State.CANCELLED, now) | {"reason": FORGOTTEN}
        async with self._database.begin() as connection:
            found = [Job.of(row) for row in await connection.execute(theirs)]
            open_ids = [job.id for job in found if job.state in OPEN]
            await change_all(connection, jobs.c.id.in_(open_ids), ended)
            await close_open_calls(connection, open_ids, "unknown", now)
        return found

    async def delete(self, user_id: int) -> None:
        """Take the rows of a person's ended jobs away, and what the person has chosen."""
        now = self._database.now()
        counted = select(jobs.c.id, jobs.c.queued_at).where(
            jobs.c.user_id == user_id, jobs.c.state.in_(TERMINAL), is_counted(now)
        )
        async with self._database.begin() as connection:
            for job_id, queued_at in (await connection.execute(counted)).all():
                await connection.execute(insert(notices).values(key=forgotten_video(user_id, job_id), at=queued_at))
            await connection.execute(delete(jobs).where(jobs.c.user_id == user_id, jobs.c.state.in_(TERMINAL)))
            await peers.forget(connection, user_id)
