"""How often something may be done, by one process or by all replicas together.

The generic cell rate algorithm (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm): of each rate one number is
kept, when it would be free again if everything were done at even distances. A burst runs ahead of it by so much.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import func, select

from storage.database import Database
from storage.schema import notices


@dataclass(frozen=True, slots=True)
class Rate:
    """Once every so many milliseconds, and up to `burst` times in a row. What has the same key shares the rate."""

    key: str
    every_ms: int
    burst: int

    def ahead_ms(self, *, keep: int) -> int:
        """How far ahead of the even distances one may be, with `keep` turns left over."""
        return (self.burst - 1 - keep) * self.every_ms


class Rates(Protocol):
    async def take(self, rates: Sequence[Rate], *, keep: int = 0) -> int:
        """Take a turn of each rate, if then `keep` are left over: 0. Else take none: how long to wait (ms)."""
        ...

    async def hold(self, rate: Rate, *, until_ms: int) -> None:
        """Let nobody have a turn before then (ms since the epoch)."""
        ...


class OwnRates:
    """In memory, for the only process. What it forgets with a restart, Telegram's own 429 says again."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._latest = 0
        self._free_at: dict[str, int] = {}

    def wait_ms(self, rates: Sequence[Rate], *, keep: int = 0) -> int:
        """What `take` would answer now."""
        now = self._forget()
        return max(0, *(self._free_at.get(rate.key, now) - now - rate.ahead_ms(keep=keep) for rate in rates))

    async def take(self, rates: Sequence[Rate], *, keep: int = 0) -> int:
        wait_ms = self.wait_ms(rates, keep=keep)
        if not wait_ms:
            now = self._now()
            self._free_at |= {rate.key: self._free_at.get(rate.key, now) + rate.every_ms for rate in rates}
        return wait_ms

    async def hold(self, rate: Rate, *, until_ms: int) -> None:
        self._free_at[rate.key] = max(self._free_at.get(rate.key, 0), until_ms + rate.ahead_ms(keep=0))

    def _forget(self) -> int:
        """Drop what is over, or all if the system's clock was put back, lest everybody wait for it. Gives the time."""
        now = self._now()
        was_put_back = now < self._latest
        self._latest = now
        self._free_at = {} if was_put_back else {key: at for key, at in self._free_at.items() if at > now}
        return now


class SharedRates:
    """In the database, for all replicas. Both raise one of `DATABASE_ERRORS` where it does not work."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, rates: Sequence[Rate], *, keep: int = 0) -> int:
        now = self._database.now()
        try:
            async with self._database.begin() as connection:
                for rate in sorted(rates, key=lambda rate: rate.key):  # all in one order, so that nobody deadlocks
                    key, latest = _key(rate), now + rate.ahead_ms(keep=keep)
                    taken = (
                        self._database.insert(notices)
                        .values(key=key, at=now + rate.every_ms)
                        .on_conflict_do_update(
                            index_elements=[notices.c.key],
                            set_={"at": func.greatest(notices.c.at, now) + rate.every_ms},
                            where=notices.c.at <= latest,
                        )
                        .returning(notices.c.at)
                    )
                    if await connection.scalar(taken) is None:
                        free_at = await connection.scalar(select(notices.c.at).where(notices.c.key == key))
                        raise _Full(max(1, (free_at or 0) - latest))
        except _Full as full:
            return full.wait_ms
        return 0

    async def hold(self, rate: Rate, *, until_ms: int) -> None:
        at = until_ms + rate.ahead_ms(keep=0)
        held = self._database.insert(notices).values(key=_key(rate), at=at)
        later = func.greatest(notices.c.at, at)
        async with self._database.begin() as connection:
            await connection.execute(held.on_conflict_do_update(index_elements=[notices.c.key], set_={"at": later}))


class _Full(Exception):
    """Rolls back what was taken of the other rates."""

    def __init__(self, wait_ms: int) -> None:
        super().__init__()
        self.wait_ms = wait_ms


def rates_of(database: Database) -> Rates:
    """What all who have this database open share."""
    return SharedRates(database) if database.is_postgres else OwnRates(database.now)


def _key(rate: Rate) -> str:
    return f"rate:{rate.key}"
