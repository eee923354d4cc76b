"""The operator hears once of each trouble, and once that it is over; on both engines."""

from collections.abc import Sequence
from typing import Any

import pytest

from bot.operator import OperatorsVoice
from clocks import TurnableClock
from databases import Clock
from storage.alarms import Alarm, Alarms
from storage.database import Database
from storage.peers import Peers

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def alarms(database: Database) -> Alarms:
    return Alarms(database)


async def told(alarms: Alarms) -> Sequence[Alarm]:
    """Claim what is due, and say that it was told."""
    found = await alarms.claim(9, lease_ms=1000)
    for alarm in found:
        await alarms.told(alarm)
    return found


async def test_one_message_per_trouble_and_one_when_it_is_over(alarms: Alarms) -> None:
    for _ in range(3):
        await alarms.raise_("credit", "no credit")
    [alarm] = await told(alarms)
    assert (alarm.text, alarm.over_at) == ("no credit", None)
    await alarms.raise_("credit", "no credit")
    assert await told(alarms) == []
    for _ in range(2):
        await alarms.over("credit")
    [alarm] = await told(alarms)
    assert alarm.over_at is not None
    assert await told(alarms) == []
    assert await alarms.next_due() is None


async def test_a_trouble_that_is_over_before_it_was_told_is_nobodys_business(alarms: Alarms) -> None:
    await alarms.raise_("credit", "no credit")
    await alarms.over("credit")
    assert await told(alarms) == []


async def test_an_alarm_that_was_not_told_comes_back_after_its_lease(alarms: Alarms, clock: Clock) -> None:
    await alarms.raise_("credit", "no credit")
    assert len(await alarms.claim(9, lease_ms=1000)) == 1
    assert await alarms.claim(9, lease_ms=1000) == []
    clock.turn(seconds=1)
    assert len(await told(alarms)) == 1


async def test_an_alarm_that_reaches_nobody_is_put_off_but_not_its_end(alarms: Alarms, clock: Clock) -> None:
    await alarms.raise_("credit", "no credit")
    [alarm] = await alarms.claim(9, lease_ms=1000)
    await alarms.put_off(alarm, until_ms=clock() + 5000)
    clock.turn(seconds=4)
    assert await alarms.claim(9, lease_ms=1000) == []
    clock.turn(seconds=1)
    [alarm] = await told(alarms)

    await alarms.raise_("key", "bad key")
    [other] = await alarms.claim(9, lease_ms=1000)
    await alarms.told(other)
    await alarms.over("key")
    await alarms.put_off(other, until_ms=clock() + 5000)
    assert [ended.key for ended in await told(alarms)] == ["key"]


async def test_a_trouble_that_is_over_while_it_is_told_is_told_to_be_over(alarms: Alarms, clock: Clock) -> None:
    """Else the operator would look for it for ever."""
    await alarms.raise_("credit", "no credit")
    [alarm] = await alarms.claim(9, lease_ms=1000)
    await alarms.over("credit")
    assert await alarms.claim(9, lease_ms=1000) == [], "the one who tells of it has it still"
    await alarms.told(alarm)
    clock.turn(seconds=1)
    [over] = await told(alarms)
    assert (over.over_at is None, over.told_at is None) == (False, False)
    assert await alarms.next_due() is None


async def test_a_trouble_that_goes_on_before_its_end_is_told_is_not_told_again(alarms: Alarms) -> None:
    await alarms.raise_("credit", "no credit")
    await told(alarms)
    await alarms.over("credit")
    await alarms.raise_("credit", "no credit")
    assert await told(alarms) == []
    assert await alarms.count_open() == 1


async def test_a_trouble_that_reached_nobody_before_it_was_over_is_nobodys_business_either(
    database: Database, alarms: Alarms, clock: Clock
) -> None:
    nobody: Any = None  # who would be spoken through, if anything were said
    voice = OperatorsVoice(alarms, Peers(database), nobody, TurnableClock(), [7])
    await alarms.raise_("credit", "no credit")
    [alarm] = await alarms.claim(9, lease_ms=1000)
    await alarms.put_off(alarm, until_ms=clock() + 5000)
    await alarms.over("credit")
    clock.turn(seconds=5)
    [over] = await alarms.claim(9, lease_ms=1000)
    await voice.do(over)
    assert await alarms.next_due() is None


async def test_a_trouble_may_come_again(alarms: Alarms) -> None:
    for _ in range(2):
        await alarms.raise_("credit", "no credit")
        assert len(await told(alarms)) == 1
        await alarms.over("credit")
        assert len(await told(alarms)) == 1


async def test_a_trouble_that_comes_back_while_its_end_is_told_is_heard_of_again(alarms: Alarms, clock: Clock) -> None:
    await alarms.raise_("credit", "no credit")
    await told(alarms)
    await alarms.over("credit")
    [over] = await alarms.claim(9, lease_ms=1000)
    await alarms.raise_("credit", "no credit")
    await alarms.told(over)
    assert await alarms.count_open() == 1
    clock.turn(seconds=1)
    [back] = await told(alarms)
    assert back.over_at is None
    assert await alarms.next_due() is None
