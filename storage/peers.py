"""Peers, as Telegram calls people and chats: who is let in, and what each has chosen.

A row is there only where something differs from the settings and the defaults.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.database import Database
from storage.schema import peers


class Access(StrEnum):
    ALLOWED = "allowed"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Peer:
    """`daily_limit` (0: none) stands in place of the settings' one; `keeps_chatter` is a group's choice."""

    id: int
    access: Access | None = None
    daily_limit: int | None = None
    language: str | None = None
    is_round: bool = False
    keeps_chatter: bool = False


_COLUMNS = tuple(peers.c[name] for name in Peer.__slots__)
_IS_DECIDED = or_(peers.c.access.isnot(None), peers.c.daily_limit.isnot(None))
_CHOICES = {"language": None, "is_round": 0, "keeps_chatter": 0}

# Built once, since it runs at every update.
_AMONG = select(*_COLUMNS).where(peers.c.id.in_(bindparam("ids", expanding=True)))


class Peers:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, *ids: int) -> list[Peer]:
        """The peers in the order asked for."""
        async with self._database.begin() as connection:
            found = {row.id: _peer(row) for row in await connection.execute(_AMONG, {"ids": ids})}
        return [found.get(peer_id) or Peer(peer_id) for peer_id in ids]

    async def choose(self, peer_id: int, **columns: Any) -> None:
        """Note what is chosen for a peer."""
        async with self._database.begin() as connection:
            await connection.execute(
                self._database.insert(peers)
                .values(id=peer_id, **columns)
                .on_conflict_do_update(index_elements=[peers.c.id], set_=columns)
            )

    async def listed(self) -> Sequence[Peer]:
        """Those whose access or limit the operator has decided."""
        statement = select(*_COLUMNS).where(_IS_DECIDED).order_by(peers.c.id)
        async with self._database.begin() as connection:
            return [_peer(row) for row in await connection.execute(statement)]


async def forget(connection: AsyncConnection, peer_id: int) -> None:
    """What the peer has chosen goes; what the operator has decided about it stays."""
    ours = peers.c.id == peer_id
    await connection.execute(delete(peers).where(ours, ~_IS_DECIDED))
    await connection.execute(update(peers).where(ours).values(**_CHOICES))


def _peer(row: Any) -> Peer:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's documented way to a mapping
    access = Access(values["access"]) if values["access"] else None
    flags = {name: bool(values[name]) for name in ("is_round", "keeps_chatter")}
    return Peer(**{**values, **flags, "access": access})
