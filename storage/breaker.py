"""The breaker: while AKOOL refuses the account itself, no job is submitted, but one at a time to see if it is over.

It is a row, so that a restart does not forget it and all replicas share it. `Ledger.admit` asks it. A row beside it is
the operator's own pause: while that is there, nothing is submitted at all.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.schema import breaker

_NAME = "akool"
_OPERATOR = "operator"
_FIRST_WAIT_MS = 20_000
_LONGEST_WAIT_MS = 15 * 60_000
_ANSWER_COMES_WITHIN_MS = 3 * 60_000  # until then nobody else tries


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nothing is submitted, since when, and when the next job may try (ms since the epoch)."""

    reason: str
    since: int
    try_at: int
    tries: int


_COLUMNS = tuple(breaker.c[name] for name in Pause.__slots__)
_IS_PAUSED = exists().where(breaker.c.name == _OPERATOR)

IS_SHUT = _IS_PAUSED | exists().where(breaker.c.name == _NAME, breaker.c.try_at > bindparam("now"))
"""Whether nobody may be submitted `now`."""


class Breaker:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def trip(self, reason: str, *, tried_at: int) -> None:
        """Pause; or, where the try that failed was made during the pause, wait twice as long before the next.

        `tried_at`: when the call that was refused was begun. Those that were under way already prolong nothing.
        """
        now = self._database.now()
        async with self._database.begin() as connection:
            pause = await current(connection)
            if pause and tried_at <= pause.since:
                return
            tries = pause.tries + 1 if pause else 0
            wait_ms = min(_FIRST_WAIT_MS * 2 ** min(tries, 10), _LONGEST_WAIT_MS)
            news = {"reason": reason, "try_at": now + wait_ms, "tries": tries}
            await connection.execute(
                self._database.insert(breaker)
                .values(name=_NAME, since=now, **news)
                .on_conflict_do_update(index_elements=[breaker.c.name], set_=news)
            )

    async def reset(self) -> bool:
        """Go on as usual; True where there was a pause."""
        async with self._database.begin() as connection:
            ended = await connection.execute(delete(breaker).where(breaker.c.name == _NAME).returning(breaker.c.name))
            return ended.one_or_none() is not None

    async def pause(self) -> Pause | None:
        async with self._database.begin() as connection:
            return await current(connection)

    # --- the operator's own pause ---

    async def pause_all(self, reason: str = "operator") -> None:
        """Submit nothing at all until `resume_all`."""
        now = self._database.now()
        pause = {"name": _OPERATOR, "reason": reason, "since": now, "try_at": now}
        async with self._database.begin() as connection:
            await connection.execute(self._database.insert(breaker).values(**pause).on_conflict_do_nothing())

    async def resume_all(self) -> None:
        async with self._database.begin() as connection:
            await connection.execute(delete(breaker).where(breaker.c.name == _OPERATOR))

    async def is_paused(self) -> bool:
        """Whether the operator has paused everything."""
        async with self._database.begin() as connection:
            return bool(await connection.scalar(select(_IS_PAUSED)))


async def current(connection: AsyncConnection) -> Pause | None:
    row = (await connection.execute(select(*_COLUMNS).where(breaker.c.name == _NAME).with_for_update())).one_or_none()
    return Pause(*row) if row else None


async def places_left(connection: AsyncConnection, free: int, now: int) -> int:
    """How many of the free places may be taken: during a pause one, when it is time, and then none for a while."""
    if await connection.scalar(select(_IS_PAUSED)):
        return 0
    pause = await current(connection)
    if pause is None:
        return free
    if now < pause.try_at or free <= 0:
        return 0
    ours = breaker.c.name == _NAME
    await connection.execute(update(breaker).where(ours).values(try_at=now + _ANSWER_COMES_WITHIN_MS))
    return 1
