"""Forgetting a person: their jobs end and go. The ledger's rows stay, for they are about money."""

from collections.abc import Sequence

from sqlalchemy import delete, select, update

from storage.database import Database
from storage.jobs import COLUMNS, OPEN, TERMINAL, Job, State, entered
from storage.ledger import close_open_call
from storage.peers import Peers
from storage.schema import jobs


class Forgetting:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._peers = Peers(database)

    async def cancel_all(self, user_id: int) -> Sequence[Job]:
        """End a person's open jobs; returns all that the person has, as they were before."""
        now = self._database.now()
        theirs = jobs.c.user_id == user_id
        async with self._database.begin() as connection:
            found = [Job.of(row) for row in await connection.execute(select(*COLUMNS).where(theirs).with_for_update())]
            ended = entered(State.CANCELLED, now) | {"reason": "forgotten"}
            await connection.execute(update(jobs).where(theirs, jobs.c.state.in_(OPEN)).values(**ended))
            for job in found:
                await close_open_call(connection, job.id, "unknown", now)
        return found

    async def delete(self, user_id: int) -> None:
        """Take the rows of a person's ended jobs away, and what the person has chosen."""
        async with self._database.begin() as connection:
            await connection.execute(delete(jobs).where(jobs.c.user_id == user_id, jobs.c.state.in_(TERMINAL)))
        await self._peers.forget(user_id)
