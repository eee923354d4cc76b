"""Replicas: who may be there beside whom, and who does what only one may do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from databases import Clock, cut_connections
from storage.database import Database, open_database
from storage.engine import DATABASE_ERRORS
from storage.replicas import Duty, Held, NotAlone, Presence


@asynccontextmanager
async def replicas_of(url: str, clock: Clock, count: int) -> AsyncIterator[list[Database]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_database(url, now=clock)) for _ in range(count)]


@asynccontextmanager
async def present(
    database: Database, *secrets: str, is_lonely: bool = False, patience_ms: int = 100
) -> AsyncIterator[Presence]:
    presence = Presence(database, is_lonely=is_lonely, secrets=secrets or ("ours",), patience_ms=patience_ms)
    await presence.keep()
    try:
        yield presence
    finally:
        await presence.leave()


# --- duties ---


async def test_a_duty_is_one_replicas(own_postgres_url: str, clock: Clock) -> None:
    async with replicas_of(own_postgres_url, clock, 2) as (one, other):
        ours, theirs = Held(one, Duty.SWEEPING), Held(other, Duty.SWEEPING)
        assert [await ours.take(), await theirs.take(), await ours.take()] == [True, False, True]
        async with Held(other, Duty.UPDATES).for_now() as another_duty:
            assert another_duty
        await ours.let_go()
        assert await theirs.take()
        await theirs.let_go()


async def test_a_duty_is_lost_with_its_connection(own_postgres_url: str, clock: Clock) -> None:
    async with replicas_of(own_postgres_url, clock, 2) as (one, other):
        ours, theirs = Held(one, Duty.UPDATES), Held(other, Duty.UPDATES)
        await ours.take()
        await cut_connections(other)
        async with asyncio.timeout(5):
            while not await theirs.take():
                pass
        assert not await ours.take()
        await theirs.let_go()


async def test_a_duty_that_cant_be_asked_for_costs_no_connection(own_postgres_url: str, clock: Clock) -> None:
    """Else a dozen failures later nobody would get one."""
    async with replicas_of(own_postgres_url, clock, 1) as (database,):
        given: list[AsyncConnection] = []

        class Fragile(Database):
            async def session(self) -> AsyncConnection:
                given.append(session := await database.session())
                await cut_connections(database)
                return session

        with pytest.raises(DATABASE_ERRORS):
            await Held(Fragile(database._engine, clock), Duty.UPDATES).take()
        assert [session.closed for session in given] == [True]


async def test_a_duty_ends_with_its_block_whatever_happens_there(own_postgres_url: str, clock: Clock) -> None:
    async with replicas_of(own_postgres_url, clock, 2) as (one, other):
        with pytest.raises(ZeroDivisionError):
            async with Held(one, Duty.PROFILE).for_now():
                raise ZeroDivisionError
        theirs = Held(other, Duty.PROFILE)
        assert await theirs.take()
        await theirs.let_go()


# --- presence ---


async def test_with_shared_media_any_number_may_be_there(own_postgres_url: str, clock: Clock) -> None:
    """Also when all start at the same moment on a new database."""
    async with replicas_of(own_postgres_url, clock, 3) as databases, AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(present(database)) for database in databases))


@pytest.mark.parametrize("is_first_lonely", [True, False])
async def test_a_folder_of_ones_own_suffers_nobody_beside(
    own_postgres_url: str, clock: Clock, *, is_first_lonely: bool
) -> None:
    """Whichever comes second is refused, and told what to set."""
    async with (
        replicas_of(own_postgres_url, clock, 2) as (one, other),
        present(one, is_lonely=is_first_lonely),
    ):
        for is_lonely in {True, not is_first_lonely}:
            with pytest.raises(NotAlone, match="MEDIA_STORE=s3://"):
                async with present(other, is_lonely=is_lonely):
                    pass


async def test_who_restarts_waits_for_the_one_before(own_postgres_url: str, clock: Clock) -> None:
    async with replicas_of(own_postgres_url, clock, 2) as (one, other), AsyncExitStack() as stack:
        first = Presence(one, is_lonely=True, secrets=["ours"], patience_ms=100)
        await first.keep()
        second = asyncio.create_task(stack.enter_async_context(present(other, is_lonely=True, patience_ms=9000)))
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        async with asyncio.timeout(5):
            while True:
                async with one.begin() as connection:
                    if await connection.scalar(waiting):
                        break
        assert not second.done()
        await first.leave()
        await second


async def test_another_app_secret_is_refused_while_others_are_there(own_postgres_url: str, clock: Clock) -> None:
    """Each machine would make its own, and refuse what Telegram and AKOOL send to the others' addresses."""
    async with replicas_of(own_postgres_url, clock, 3) as (one, other, third):
        async with present(one, "ours"):
            async with present(other, "ours"):
                pass
            with pytest.raises(NotAlone, match="APP_SECRET"):
                async with present(other, "theirs"):
                    pass
        async with present(other, "theirs"):
            pass
        async with present(other, "theirs"), present(third, "theirs"):
            pass


async def test_a_new_app_secret_may_come_in_beside_the_previous_one(own_postgres_url: str, clock: Clock) -> None:
    """First all learn it as a second one, then one after the other takes it as the first."""
    async with (
        replicas_of(own_postgres_url, clock, 3) as (one, other, third),
        present(one, "old", "new"),
        present(other, "new", "old"),
        present(third, "old", "new"),
    ):
        pass


async def test_a_place_that_was_lost_is_taken_again(own_postgres_url: str, clock: Clock) -> None:
    async with (
        replicas_of(own_postgres_url, clock, 3) as (one, other, third),
        present(one, is_lonely=True) as ours,
    ):
        await cut_connections(third)
        await ours.keep()
        with pytest.raises(NotAlone):
            async with present(other, is_lonely=True):
                pass


async def test_a_place_that_somebody_else_has_taken_is_lost(own_postgres_url: str, clock: Clock) -> None:
    async with replicas_of(own_postgres_url, clock, 3) as (one, other, third), present(one, is_lonely=True) as ours:
        await cut_connections(third)
        async with present(other, is_lonely=True):
            with pytest.raises(NotAlone):
                await ours.keep()
