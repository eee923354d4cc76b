"""Which objects belong to a job, and for how long.

A job that ended long ago lets go of its objects; an object that belongs to no job is an orphan, whoever left it.
"""

from collections.abc import Collection

from sqlalchemy import or_, select, union_all, update

from storage.database import Database
from storage.job import TERMINAL
from storage.schema import jobs

_KEYS = (jobs.c.photo_key, jobs.c.voice_key, jobs.c.video_key)


class Retention:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def let_go(self, *, ended_before_ms: int) -> None:
        """Take the objects from the jobs that ended before (ms since the epoch)."""
        old = jobs.c.state.in_(TERMINAL) & (jobs.c.updated_at < ended_before_ms)
        has_any = or_(*(key.isnot(None) for key in _KEYS))
        async with self._database.begin() as connection:
            await connection.execute(update(jobs).where(old, has_any).values(dict.fromkeys(_KEYS)))

    async def orphans_among(self, keys: Collection[str]) -> set[str]:
        """Those of the keys that belong to no job."""
        belong = union_all(*(select(key).where(key.in_(keys)) for key in _KEYS))
        async with self._database.begin() as connection:
            return set(keys) - set(await connection.scalars(belong))
