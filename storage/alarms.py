"""What the operator must hear: one message per trouble, and one when it is over."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, case, delete, exists, func, null, select, update

from storage.database import Database, among
from storage.schema import alarms


@dataclass(frozen=True, slots=True)
class Alarm:
    """A trouble: `told_at` once the operator knows of it, `over_at` once it is over (ms since the epoch)."""

    key: str
    text: str
    raised_at: int
    told_at: int | None
    over_at: int | None
    due_at: int | None


# Built once, since it runs at every delivery.
_IS_RAISED = select(exists().where(alarms.c.key == bindparam("key")))
_IS_OPEN = select(exists().where(alarms.c.key == bindparam("key"), alarms.c.over_at.is_(None)))

_COLUMNS = tuple(alarms.c[name] for name in Alarm.__slots__)


class Alarms:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def raise_(self, key: str, text: str) -> None:
        """Note a trouble, unless it is noted already; if it was just over, it goes on.

        Where its end was not even begun to be told, nobody hears of either.
        """
        now = self._database.now()
        is_known = alarms.c.told_at.isnot(None) & (alarms.c.due_at <= now)
        goes_on = {"over_at": None, "due_at": case((is_known, null()), else_=alarms.c.due_at)}
        async with self._database.begin() as connection:
            await connection.execute(
                self._database.insert(alarms)
                .values(key=key, text=text, raised_at=now, due_at=now)
                .on_conflict_do_update(index_elements=[alarms.c.key], set_=goes_on)
            )

    async def over(self, key: str) -> None:
        """Note that a trouble is over; nobody hears of one that nobody had heard of, or is being told of."""
        now = self._database.now()
        ours, is_being_told = alarms.c.key == key, alarms.c.due_at > now
        async with self._database.begin() as connection:
            if not await connection.scalar(_IS_RAISED, {"key": key}):
                return
            await connection.execute(delete(alarms).where(ours, alarms.c.told_at.is_(None), alarms.c.due_at <= now))
            due_at = case((is_being_told, alarms.c.due_at), else_=now)
            await connection.execute(update(alarms).where(ours).values(over_at=now, due_at=due_at))

    async def claim(self, most: int, *, lease_ms: int) -> Sequence[Alarm]:
        """Take what is to be told now."""
        now = self._database.now()
        due = select(alarms.c.key).where(alarms.c.due_at <= now).limit(most).with_for_update(skip_locked=True)
        statement = update(alarms).where(among(alarms.c.key, due)).values(due_at=now + lease_ms).returning(*_COLUMNS)
        async with self._database.begin() as connection:
            return [Alarm(*row) for row in await connection.execute(statement)]

    async def next_due(self) -> int | None:
        return await self._database.earliest(alarms.c.due_at)

    async def is_open(self, key: str) -> bool:
        """Whether there is such a trouble, and it is not over."""
        async with self._database.begin() as connection:
            return bool(await connection.scalar(_IS_OPEN, {"key": key}))

    async def count_open(self) -> int:
        """How many troubles are not over."""
        async with self._database.begin() as connection:
            statement = select(func.count()).where(alarms.c.over_at.is_(None))
            return (await connection.execute(statement)).scalar_one()

    async def put_off(self, alarm: Alarm, *, until_ms: int) -> None:
        """Nobody could be told; to be tried again then (ms since the epoch)."""
        async with self._database.begin() as connection:
            unchanged = (alarms.c.key == alarm.key) & (alarms.c.due_at == alarm.due_at)
            await connection.execute(update(alarms).where(unchanged).values(due_at=until_ms))

    async def told(self, alarm: Alarm) -> None:
        """The operator has heard this of it; one that was over, or has come back, meanwhile stays due."""
        ours = alarms.c.key == alarm.key
        async with self._database.begin() as connection:
            if alarm.over_at is not None:
                await connection.execute(delete(alarms).where(ours, alarms.c.over_at == alarm.over_at))
            else:
                due_at = case((alarms.c.over_at.is_(None), null()), else_=alarms.c.due_at)
                await connection.execute(update(alarms).where(ours).values(told_at=self._database.now(), due_at=due_at))
