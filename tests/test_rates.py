"""Rates: kept in memory by the only process, and in the database by replicas together."""

import asyncio

import pytest

from databases import Clock
from storage.database import Database, open_database
from storage.notices import Notices
from storage.rates import OwnRates, Rate, Rates, SharedRates, rates_of

SLOW = Rate("slow", every_ms=1000, burst=3)
FAST = Rate("fast", every_ms=10, burst=100)


@pytest.fixture(params=["own", "shared"])
def rates(request: pytest.FixtureRequest, clock: Clock) -> Rates:
    if request.param == "own":
        return OwnRates(clock)
    database: Database = request.getfixturevalue("postgres")
    return SharedRates(database)


async def test_a_burst_is_let_through_and_then_one_at_a_time(rates: Rates, clock: Clock) -> None:
    assert [await rates.take([SLOW], keep=0) for _ in range(5)] == [0, 0, 0, 1000, 1000]
    clock.turn(seconds=1)
    assert [await rates.take([SLOW], keep=0) for _ in range(2)] == [0, 1000]
    clock.turn(seconds=60)
    assert [await rates.take([SLOW], keep=0) for _ in range(4)] == [0, 0, 0, 1000]


async def test_who_must_leave_a_turn_waits_for_one_more(rates: Rates) -> None:
    assert [await rates.take([SLOW], keep=1) for _ in range(3)] == [0, 0, 1000]
    assert await rates.take([SLOW], keep=0) == 0


async def test_where_one_rate_is_full_nothing_is_taken_of_the_other(rates: Rates) -> None:
    """Whichever comes first in the alphabet."""
    for full, other in ((SLOW, FAST), (Rate("a slow one", 1000, 1), Rate("b fast one", 10, 2))):
        while not await rates.take([full], keep=0):
            pass
        for _ in range(3):
            assert await rates.take([full, other], keep=0) > 0
        assert await rates.take([other], keep=other.burst - 1) == 0


async def test_a_rate_that_is_held_gives_one_turn_when_it_is_over(rates: Rates, clock: Clock) -> None:
    """A 429 says when; a burst right then would be answered by the next one."""
    await rates.take([SLOW], keep=0)
    await rates.hold(SLOW, until_ms=clock() + 30_000)
    assert await rates.take([SLOW], keep=0) == 30_000
    clock.turn(seconds=30)
    assert [await rates.take([SLOW], keep=0) for _ in range(2)] == [0, 1000]


async def test_a_hold_never_shortens_another(rates: Rates, clock: Clock) -> None:
    await rates.hold(SLOW, until_ms=clock() + 30_000)
    await rates.hold(SLOW, until_ms=clock() + 5_000)
    assert await rates.take([SLOW], keep=0) == 30_000


async def test_replicas_share_their_rates(own_postgres_url: str, clock: Clock) -> None:
    """However many there are, and though all ask at once."""
    async with open_database(own_postgres_url, now=clock) as one, open_database(own_postgres_url, now=clock) as other:
        both = [rates_of(one), rates_of(other)]
        waits = await asyncio.gather(*(both[turn % 2].take([FAST, SLOW], keep=0) for turn in range(12)))

        assert sorted(waits) == [0, 0, 0] + 9 * [1000]
        await both[0].hold(SLOW, until_ms=clock() + 9000)
        assert await both[1].take([SLOW], keep=0) == 9000


async def test_what_is_over_is_forgotten(clock: Clock) -> None:
    """A month of strangers costs no memory."""
    rates = OwnRates(clock)
    for chat in range(100):
        await rates.take([Rate(f"chat {chat}", 1000, 4)], keep=0)
        clock.turn(seconds=60)

    assert len(rates._free_at) == 1


async def test_a_clock_that_is_put_back_locks_nobody_out(clock: Clock) -> None:
    rates = OwnRates(clock)
    for _ in range(3):
        await rates.take([SLOW])
    clock.turn(seconds=-3600)
    assert await rates.take([SLOW]) == 0


async def test_the_database_forgets_it_too(postgres: Database, clock: Clock) -> None:
    shared = SharedRates(postgres)
    await shared.take([SLOW], keep=2)
    clock.turn(seconds=3600)
    await Notices(postgres).prune(older_than_ms=1000)
    assert await shared.take([SLOW], keep=2) == 0
