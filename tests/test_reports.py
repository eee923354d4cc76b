"""How the bot is doing, in numbers, on both engines."""

import pytest

from databases import Clock, insert_job
from storage.database import Database
from storage.job import OPEN, State
from storage.ledger import Ledger
from storage.reports import Report, Reports
from storage.updates import Updates

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOUR_MS = 3_600_000


@pytest.fixture
def reports(database: Database) -> Reports:
    return Reports(database)


async def test_nothing_is_reported_where_nothing_happened(reports: Reports) -> None:
    nothing = dict.fromkeys(OPEN, 0)
    assert await reports.today() == Report(nothing, 0, 0, None, [], 0, 0)


async def test_what_ended_is_counted_for_a_day(database: Database, reports: Reports, clock: Clock) -> None:
    for state in (State.DELIVERED, State.FAILED, State.CANCELLED):
        await insert_job(database, state)
    await insert_job(database, State.DELIVERED, created_at=clock() - 48 * HOUR_MS)
    await insert_job(database, State.RENDERING)
    clock.turn(seconds=24 * 3600 - 0.001)
    report = await reports.today()
    assert (report.delivered_today, report.failed_today) == (2, 1)
    assert {state: count for state, count in report.by_state.items() if count} == {State.RENDERING: 1}
    clock.turn(seconds=0.001)
    report = await reports.today()
    assert (report.delivered_today, report.failed_today) == (0, 0)


async def test_the_median_is_of_the_last_days_renders(database: Database, reports: Reports, clock: Clock) -> None:
    now = clock()
    for took_ms, ended_ms_ago in ((1000, 0), (5000, HOUR_MS), (9000, 2 * HOUR_MS), (1, 24 * HOUR_MS)):
        rendered_at = now - ended_ms_ago
        await insert_job(database, State.DELIVERED, submitted_at=rendered_at - took_ms, rendered_at=rendered_at)
    await insert_job(database, State.RENDERING, submitted_at=now - HOUR_MS)
    assert (await reports.today()).median_render_ms == 5000
    await insert_job(database, State.SAVING, submitted_at=now - 6001, rendered_at=now)
    assert (await reports.today()).median_render_ms == 5500


async def test_the_last_five_failures_of_a_week_come_newest_first(
    database: Database, reports: Reports, clock: Clock
) -> None:
    await insert_job(database, State.FAILED, reason="long ago", updated_at=clock() - 7 * 24 * HOUR_MS)
    late = await insert_job(database, State.FAILED, reason="ended last", updated_at=clock())
    assert (await reports.today()).last_errors == [late]
    failed = [
        await insert_job(database, State.FAILED, reason=f"{hours} h ago", updated_at=clock() - hours * HOUR_MS)
        for hours in (6, 5, 4, 3)
    ]
    await insert_job(database, State.CANCELLED, reason="expired")
    assert (await reports.today()).last_errors == [late, *reversed(failed)]
    one_more = await insert_job(database, State.FAILED, updated_at=clock() - HOUR_MS)
    assert (await reports.today()).last_errors == [late, one_more, *reversed(failed[1:])]


async def test_calls_and_updates_that_were_set_aside_are_counted(database: Database, reports: Reports) -> None:
    await insert_job(database, State.QUEUED)
    await Ledger(database).admit(at_akool=1, lease_ms=1, most=1)
    updates = Updates(database)
    await updates.store([(1, 1, "{}"), (2, 2, "{}"), (3, 3, "{}")])
    aside, handled, _ = await updates.claim(9, lease_ms=1)
    await updates.set_aside(aside, error="unparsable")
    await updates.finish(handled)
    report = await reports.today()
    assert (report.spent_today, report.set_aside) == (1, 1)
