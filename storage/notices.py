"""What was said lately, so that it is not said again too soon."""

from sqlalchemy import delete, exists, insert, select

from storage.database import Database
from storage.schema import notices

_FOR_GOOD = "for good:"  # the beginning of a key that is never forgotten


class Notices:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def holds(self, subject: str, what: str) -> bool:
        """Whether `what` is what was noted last about a subject."""
        async with self._database.begin() as connection:
            return bool(await connection.scalar(select(exists().where(notices.c.key == _lasting(subject, what)))))

    async def keep(self, subject: str, what: str) -> None:
        """Note, for good, `what` is said about a subject from now on."""
        async with self._database.begin() as connection:
            earlier = notices.c.key.startswith(_lasting(subject, ""), autoescape=True)
            await connection.execute(delete(notices).where(earlier))
            await connection.execute(insert(notices).values(key=_lasting(subject, what), at=self._database.now()))

    async def is_new(self, key: str, *, for_ms: int) -> bool:
        """Whether `key` was not noted in the last `for_ms`; it is noted now if so."""
        now = self._database.now()
        statement = (
            self._database.insert(notices)
            .values(key=key, at=now)
            .on_conflict_do_update(index_elements=[notices.c.key], set_={"at": now}, where=notices.c.at <= now - for_ms)
            .returning(notices.c.key)
        )
        async with self._database.begin() as connection:
            return (await connection.execute(statement)).one_or_none() is not None

    async def prune(self, *, older_than_ms: int) -> None:
        before = self._database.now() - older_than_ms
        async with self._database.begin() as connection:
            await connection.execute(delete(notices).where(notices.c.at < before, ~notices.c.key.startswith(_FOR_GOOD)))


def _lasting(subject: str, what: str) -> str:
    return f"{_FOR_GOOD}{subject}={what}"
