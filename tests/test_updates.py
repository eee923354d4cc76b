"""Updates are stored once, handled once, and in order within a lane, on both engines."""

import asyncio

import pytest
from sqlalchemy import select

from databases import Clock
from storage.database import Database
from storage.jobs import Overtaken
from storage.schema import updates as table
from storage.updates import StoredUpdate, Updates, mark_handled

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEASE_MS = 60_000


@pytest.fixture
def updates(database: Database) -> Updates:
    return Updates(database)


async def store(updates: Updates, *pairs: tuple[int, int]) -> None:
    """Store updates given as (update_id, lane)."""
    await updates.store([(update_id, lane, f'{{"update_id": {update_id}}}') for update_id, lane in pairs])


async def claim(updates: Updates, most: int = 9) -> list[StoredUpdate]:
    return sorted(await updates.claim(most, lease_ms=LEASE_MS), key=lambda stored: stored.update_id)


async def claim_ids(updates: Updates, most: int = 9) -> list[int]:
    return [stored.update_id for stored in await claim(updates, most)]


async def test_an_update_comes_back_as_it_was_stored(updates: Updates) -> None:
    await store(updates, (1, -7))
    [stored] = await claim(updates)
    assert (stored.update_id, stored.lane, stored.json, stored.attempts) == (1, -7, {"update_id": 1}, 0)


async def test_what_telegram_repeats_is_stored_once(updates: Updates) -> None:
    """Within a batch, in the next one, and after it was handled."""
    await updates.store([])
    await updates.store([(1, 1, "first"), (1, 1, "again")])
    await updates.store([(1, 1, "again"), (2, 2, "new")])
    first, new = await claim(updates)
    assert (first.raw, new.raw) == ("first", "new")
    await updates.finish(first)
    await store(updates, (1, 1))
    assert await claim_ids(updates) == []


async def test_lanes_go_side_by_side_and_each_in_order(updates: Updates) -> None:
    await store(updates, (3, 1), (1, 1), (2, 2), (4, 2))
    one, two = await claim(updates)
    assert (one.update_id, two.update_id) == (1, 2)
    assert await claim(updates) == [], "their lanes are busy"
    await updates.finish(two)
    assert await claim_ids(updates) == [4]
    await updates.finish(one)
    assert await claim_ids(updates) == [3]


async def test_the_oldest_lanes_come_first(updates: Updates) -> None:
    await store(updates, (3, 3), (2, 2), (1, 1))
    assert await claim_ids(updates, most=1) == [1]
    assert await claim_ids(updates, most=1) == [2]


async def test_an_update_is_claimed_once_however_many_ask(database: Database, replica: Database) -> None:
    await store(Updates(database), *((number, number % 8) for number in range(40)))
    claims = await asyncio.gather(*(claim_ids(Updates(where), most=3) for where in (database, replica) * 4))
    assert sorted(update_id for ids in claims for update_id in ids) == list(range(8))


async def test_a_lease_that_is_over_makes_a_new_claim(updates: Updates, clock: Clock) -> None:
    await store(updates, (1, 1), (2, 1))
    assert await claim_ids(updates) == [1]
    clock.turn(seconds=60)
    assert await claim_ids(updates) == [1]


async def test_an_extended_lease_holds(updates: Updates, clock: Clock) -> None:
    await store(updates, (1, 1))
    [stored] = await claim(updates)
    clock.turn(seconds=40)
    await updates.extend(stored, lease_ms=LEASE_MS)
    clock.turn(seconds=59)
    assert await claim(updates) == []


async def test_who_was_overtaken_changes_nothing_any_more(updates: Updates, clock: Clock) -> None:
    await store(updates, (1, 1))
    [late] = await claim(updates)
    clock.turn(seconds=60)
    [held] = await claim(updates)
    with pytest.raises(Overtaken):
        await updates.extend(late, lease_ms=2 * LEASE_MS)
    await updates.finish(late)
    await updates.set_aside(late, error="too late")
    await updates.retry(late, due_at=0)
    assert await claim(updates) == []
    assert await updates.next_due() == clock() + LEASE_MS
    await updates.finish(held)
    assert await updates.next_due() is None


async def test_a_start_gives_back_every_claim(updates: Updates) -> None:
    await store(updates, (1, 1))
    await claim(updates)
    await updates.release_all()
    assert await claim_ids(updates) == [1]


async def test_what_is_tried_again_later_holds_up_its_own_lane_only(updates: Updates, clock: Clock) -> None:
    await store(updates, (1, 1), (2, 1), (3, 2))
    failed, _ = await claim(updates)
    await updates.retry(failed, due_at=clock() + 5000)
    assert await claim(updates) == []
    clock.turn(seconds=5)
    [again] = await claim(updates)
    assert (again.update_id, again.attempts) == (1, 1)


async def test_what_is_set_aside_frees_its_lane(updates: Updates) -> None:
    await store(updates, (1, 1), (2, 1))
    [poison] = await claim(updates)
    await updates.set_aside(poison, error="unparsable")
    assert await updates.count_set_aside() == 1
    assert await claim_ids(updates) == [2]


async def test_an_update_is_marked_as_handled_once_and_stays_so(
    database: Database, updates: Updates, clock: Clock
) -> None:
    """A handler that marked it in its own transaction is followed by an `extend` or a `retry` that changes nothing."""
    await store(updates, (1, 1))
    [stored] = await claim(updates)
    async with database.begin() as connection:
        assert await mark_handled(connection, 1)
        assert not await mark_handled(connection, 1)
        assert not await mark_handled(connection, 2)
    await updates.extend(stored, lease_ms=LEASE_MS)
    await updates.retry(stored, due_at=clock())
    await updates.set_aside(stored, error="too late")
    assert await claim(updates) == []
    assert await updates.count_set_aside() == 0


async def test_what_people_wrote_is_not_kept_once_it_is_handled(database: Database, updates: Updates) -> None:
    """But what was set aside is kept, for whoever looks into it, and what is to be tried again too."""
    await updates.store([(number, number, "words") for number in (1, 2, 3, 4)])
    finished, aside, again, _ = await claim(updates)
    await updates.finish(finished)
    await updates.set_aside(aside, error="unparsable")
    await updates.retry(again, due_at=0)
    async with database.begin() as connection:
        assert await mark_handled(connection, 4)
    async with database.begin() as connection:
        kept = dict((await connection.execute(select(table.c.update_id, table.c.raw))).all())
    assert kept == {1: "", 2: "words", 3: "words", 4: ""}


async def test_the_next_due_update_is_known(updates: Updates, clock: Clock) -> None:
    assert await updates.next_due() is None
    await store(updates, (1, 1))
    assert await updates.next_due() == clock()
    [stored] = await claim(updates)
    assert await updates.next_due() == clock() + LEASE_MS
    await updates.finish(stored)
    assert await updates.next_due() is None


async def test_an_update_behind_another_of_its_lane_is_not_the_next_due(updates: Updates, clock: Clock) -> None:
    await store(updates, (1, 1), (2, 1))
    [stored] = await claim(updates)
    assert await updates.next_due() == clock() + LEASE_MS
    await updates.retry(stored, due_at=clock() + 5000)
    assert await updates.next_due() == clock() + 5000


async def test_handled_updates_are_forgotten_when_they_are_old(updates: Updates, clock: Clock) -> None:
    """One that was forgotten could be stored again, one that waits is never forgotten."""
    await store(updates, (1, 1), (2, 2))
    handled, waiting = await claim(updates)
    await updates.finish(handled)
    clock.turn(seconds=10)
    await updates.prune(older_than_ms=10_000)
    await store(updates, (1, 1))
    assert await claim(updates) == [], "not old enough"
    clock.turn(seconds=0.001)
    await updates.prune(older_than_ms=10_000)
    await store(updates, (1, 1))
    assert await claim_ids(updates) == [1]
    clock.turn(seconds=60)
    assert waiting.update_id in await claim_ids(updates)
