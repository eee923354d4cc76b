"""What is kept of people and groups: what they chose, what the operator decided; on both engines."""

import asyncio

import pytest
from sqlalchemy import func, select

from storage.database import Database
from storage.peers import Access, Peer, Peers, forget
from storage.schema import peers as table

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADA, GROUP, STRANGER = 7, -1_001_234_567_890, 9


@pytest.fixture
def peers(database: Database) -> Peers:
    return Peers(database)


async def forgotten(database: Database, peer_id: int) -> None:
    async with database.begin() as connection:
        await forget(connection, peer_id)


async def rows(database: Database) -> int:
    async with database.begin() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


async def test_peers_come_in_the_order_asked_for_and_who_chose_nothing_has_the_defaults(peers: Peers) -> None:
    await peers.choose(GROUP, keeps_chatter=True)
    await peers.choose(ADA, language="fa", is_round=True)
    ada, group = Peer(ADA, language="fa", is_round=True), Peer(GROUP, keeps_chatter=True)
    assert await peers.get(ADA, STRANGER, GROUP) == [ada, Peer(STRANGER), group]
    assert await peers.get(GROUP, ADA) == [group, ada]
    assert await peers.get(ADA, ADA) == [ada, ada], "in a private chat the person is the chat"
    assert await peers.get() == []


async def test_who_is_asked_about_leaves_no_row(database: Database, peers: Peers) -> None:
    await peers.get(ADA, GROUP)
    assert await rows(database) == 0


async def test_a_choice_leaves_the_other_ones(peers: Peers) -> None:
    await peers.choose(ADA, language="fa")
    await peers.choose(ADA, is_round=True)
    await peers.choose(ADA, access=Access.DENIED, daily_limit=0)
    await peers.choose(ADA, language=None)
    [ada] = await peers.get(ADA)
    assert ada == Peer(ADA, Access.DENIED, daily_limit=0, is_round=True)
    assert isinstance(ada.access, Access)


async def test_two_choices_at_once_both_hold(database: Database, replica: Database) -> None:
    await asyncio.gather(
        Peers(database).choose(ADA, language="fa"),
        Peers(replica).choose(ADA, is_round=True),
        Peers(database).choose(ADA, access=Access.ALLOWED),
    )
    assert await Peers(database).get(ADA) == [Peer(ADA, Access.ALLOWED, language="fa", is_round=True)]


async def test_only_those_whom_the_operator_decided_about_are_listed(peers: Peers) -> None:
    await peers.choose(STRANGER, daily_limit=0)
    await peers.choose(8, language="fa", is_round=True, keeps_chatter=True)
    await peers.choose(ADA, access=Access.ALLOWED)
    await peers.choose(GROUP, access=Access.DENIED, daily_limit=5)
    assert await peers.listed() == [
        Peer(GROUP, Access.DENIED, daily_limit=5),
        Peer(ADA, Access.ALLOWED),
        Peer(STRANGER, daily_limit=0),
    ]


@pytest.mark.parametrize("decision", [{"access": Access.DENIED}, {"daily_limit": 0}])
async def test_who_is_forgotten_stays_denied_and_limited(
    database: Database, peers: Peers, decision: dict[str, object]
) -> None:
    """Else `/forget` would be a way back in."""
    await peers.choose(ADA, language="fa", is_round=True, keeps_chatter=True, **decision)
    await peers.choose(8, language="hi")
    await forgotten(database, ADA)
    assert await peers.get(ADA, 8) == [Peer(ADA, **decision), Peer(8, language="hi")]  # type: ignore[arg-type]
    assert await rows(database) == 2


async def test_nothing_is_left_of_who_is_forgotten_and_was_not_decided_about(database: Database, peers: Peers) -> None:
    await peers.choose(ADA, language="fa", is_round=True, keeps_chatter=True)
    await forgotten(database, ADA)
    await forgotten(database, STRANGER)
    assert await rows(database) == 0
