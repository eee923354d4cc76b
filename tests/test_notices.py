"""What was said lately is not said again too soon, on both engines."""

import asyncio

import pytest

from databases import Clock
from storage.database import Database
from storage.notices import Notices

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOUR_MS = 3_600_000


@pytest.fixture
def notices(database: Database) -> Notices:
    return Notices(database)


async def test_a_notice_is_new_once_in_its_time(notices: Notices, clock: Clock) -> None:
    """Counted from when it was said, not from when somebody asked again."""
    answers = []
    for _ in range(4):
        answers.append(await notices.is_new("no access 7", for_ms=HOUR_MS))
        clock.turn(seconds=1200)
    assert answers == [True, False, False, True]
    assert await notices.is_new("no access 8", for_ms=HOUR_MS)


async def test_of_many_that_ask_at_once_one_says_it(database: Database, replica: Database, clock: Clock) -> None:
    for _ in range(2):
        asked = (Notices(where).is_new("alarm", for_ms=HOUR_MS) for where in (database, replica) * 3)
        assert sum(await asyncio.gather(*asked)) == 1
        clock.turn(seconds=3600)


async def test_old_notices_are_forgotten(notices: Notices, clock: Clock) -> None:
    await notices.is_new("old", for_ms=HOUR_MS)
    clock.turn(seconds=10)
    await notices.is_new("young", for_ms=HOUR_MS)
    await notices.prune(older_than_ms=9_999)
    assert await notices.is_new("old", for_ms=HOUR_MS)
    assert not await notices.is_new("young", for_ms=HOUR_MS)


async def test_what_is_noted_for_good_is_kept_until_something_else_is_said(notices: Notices, clock: Clock) -> None:
    await notices.keep("menu_1", "a")
    await notices.keep("menu_11", "a")
    clock.turn(seconds=1000)
    await notices.prune(older_than_ms=1)
    assert await notices.holds("menu_1", "a")
    await notices.keep("menu_1", "b")
    assert [await notices.holds("menu_1", what) for what in "ab"] == [False, True]
    assert await notices.holds("menu_11", "a")
