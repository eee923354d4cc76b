"""Telegram's updates, stored before they are acknowledged and handled once, in order within a lane.

A lane is a chat (or a user, for updates without a chat). Of each lane only the oldest update that is not handled
can be claimed, so that lanes go on side by side and none overtakes itself. `due_at` NULL means handled or set
aside (then `error` tells why).
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database, among
from storage.jobs import Overtaken
from storage.schema import updates


@dataclass(frozen=True, slots=True)
class StoredUpdate:
    update_id: int
    lane: int
    raw: str
    attempts: int
    claim: str

    @property
    def json(self) -> Any:
        return json.loads(self.raw)


_COLUMNS = tuple(updates.c[name] for name in StoredUpdate.__slots__)

_IS_WAITING = updates.c.due_at.isnot(None)

_older = updates.alias()
_FIRST_IN_LANE = ~exists().where(
    _older.c.lane == updates.c.lane, _older.c.update_id < updates.c.update_id, _older.c.due_at.isnot(None)
)


class Updates:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def store(self, batch: Sequence[tuple[int, int, str]]) -> None:
        """Store (update_id, lane, raw JSON) durably; those that are here already are left alone."""
        if not batch:
            return
        now = self._database.now()
        rows = [
            {"update_id": update_id, "lane": lane, "raw": raw, "received_at": now, "due_at": now}
            for update_id, lane, raw in batch
        ]
        async with self._database.begin() as connection:
            await connection.execute(self._database.insert(updates).on_conflict_do_nothing(), rows)

    async def claim(self, most: int, *, lease_ms: int) -> Sequence[StoredUpdate]:
        """Take the oldest waiting update of up to `most` lanes."""
        now = self._database.now()
        due = (
            select(updates.c.update_id)
            .where(updates.c.due_at <= now, _FIRST_IN_LANE)
            .order_by(updates.c.update_id)
            .limit(most)
            .with_for_update(skip_locked=True)
        )
        statement = (
            update(updates)
            .where(among(updates.c.update_id, due))
            .values(claim=secrets.token_hex(8), due_at=now + lease_ms)
            .returning(*_COLUMNS)
        )
        async with self._database.begin() as connection:
            return [StoredUpdate(*row) for row in await connection.execute(statement)]

    async def next_due(self) -> int | None:
        return await self._database.earliest(updates.c.due_at, _FIRST_IN_LANE)

    # --- what the holder of a claim may do; once somebody else has it, all but `extend` change nothing ---

    async def extend(self, stored: StoredUpdate, *, lease_ms: int) -> None:
        """Keep the claim for another lease; one that is marked as handled needs none. Raises `Overtaken`."""
        kept = update(updates).where(_held(stored)).values(due_at=self._database.now() + lease_ms)
        is_waiting = select(exists().where(updates.c.update_id == stored.update_id, _IS_WAITING))
        async with self._database.begin() as connection:
            extended = await connection.scalar(kept.returning(updates.c.update_id))
            if extended is None and await connection.scalar(is_waiting):
                raise Overtaken

    async def finish(self, stored: StoredUpdate) -> None:
        async with self._database.begin() as connection:
            await _settle(connection, _held(stored))

    async def retry(self, stored: StoredUpdate, *, due_at: int) -> None:
        async with self._database.begin() as connection:
            await connection.execute(
                update(updates).where(_held(stored)).values(due_at=due_at, claim=None, attempts=stored.attempts + 1)
            )

    async def set_aside(self, stored: StoredUpdate, *, error: str) -> None:
        """Out of the way, with the reason, so that the rest of its lane goes on."""
        async with self._database.begin() as connection:
            await _settle(connection, _held(stored), error=error)

    # --- what anybody may do ---

    async def count_set_aside(self) -> int:
        async with self._database.begin() as connection:
            statement = select(func.count()).where(updates.c.error.isnot(None))
            return (await connection.execute(statement)).scalar_one()

    async def release_all(self) -> None:
        """Give back every claim of a process that is gone. Only for the sole process on a database."""
        async with self._database.begin() as connection:
            await connection.execute(
                update(updates)
                .where(_IS_WAITING, updates.c.claim.isnot(None))
                .values(claim=None, due_at=self._database.now())
            )

    async def prune(self, *, older_than_ms: int) -> None:
        """Forget handled updates. Telegram repeats an unacknowledged one for 24 hours, so keep them longer."""
        before = self._database.now() - older_than_ms
        async with self._database.begin() as connection:
            await connection.execute(delete(updates).where(updates.c.due_at.is_(None), updates.c.received_at < before))


async def mark_handled(connection: AsyncConnection, update_id: int) -> bool:
    """Mark the update within the transaction that holds its effect; False where it was handled before."""
    return await _settle(connection, updates.c.update_id == update_id)


async def _settle(connection: AsyncConnection, which: ColumnElement[bool], *, error: str | None = None) -> bool:
    """What somebody wrote is not kept once it is handled."""
    settled = await connection.execute(
        update(updates)
        .where(which, _IS_WAITING)
        .values(due_at=None, claim=None, error=error, **({"raw": ""} if error is None else {}))
        .returning(updates.c.update_id)
    )
    return settled.one_or_none() is not None


def _held(stored: StoredUpdate) -> ColumnElement[bool]:
    """The guard: the claim is still that of its holder."""
    return (updates.c.update_id == stored.update_id) & (updates.c.claim == stored.claim)
