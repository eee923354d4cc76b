"""Hooks, at which the service can be stopped, and the seams that pass through them.

There is one before and after each transaction, before each commit, and before and after each request and each change
to the object store.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import httpx
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from bot.clock import Clock
from storage.database import Database
from virtual_loop import Process

_ONLY_ASK = ("get", "GET", "info", "sendChatAction", "deleteWebhook")
"""Requests that change nothing outside. (There is no webhook to delete.)"""


class Trouble(StrEnum):
    CRASH = "crash"
    FREEZE = "freeze"


@dataclass(frozen=True)
class Fault:
    """A crash or a freeze at the hook with this number.

    A frozen process goes on when all the rest has come to rest, or so many seconds after its lease is over.
    """

    trouble: Trouble
    at: int
    thaws_after: float | None = None

    def __str__(self) -> str:
        thaw = "" if self.thaws_after is None else f" for {self.thaws_after:g} s after its lease"
        return f"{self.trouble}{thaw} at hook {self.at}"


@dataclass
class Hook:
    """A hook that was passed. `matters` where something outside the process's memory may have changed there."""

    name: str
    process: str
    is_transaction: bool = False
    is_commit: bool = False
    matters: bool = True

    def __str__(self) -> str:
        return f"{self.process} {self.name}"


class Killed(BaseException):
    """Nothing of a process that is gone may act any more, not even its `finally` blocks."""


@dataclass
class Hooks:
    """Counts the hooks of all processes together, and calls `strike` at those where a fault is planned."""

    strike: Callable[[Process, Fault, Hook], None]
    faults: dict[int, Fault] = field(default_factory=dict)
    passed: list[Hook] = field(default_factory=list)
    is_closed: bool = False

    async def pass_(self, process: Process | None, name: str) -> Hook:
        """Go on, or wait here for as long as the process is stopped."""
        hook = Hook(name, process.name if process else "")
        if process is None:
            return hook
        self._check()
        fault = self.faults.pop(len(self.passed), None)
        self.passed.append(hook)
        if fault is not None:
            self.strike(process, fault, hook)
        if process.is_stopped:
            await asyncio.sleep(0)  # what comes next is held up with the process
            self._check()
        return hook

    def before_commit(self, process: Process, name: str) -> Hook:
        """Where a crash undoes a transaction. (A freeze would keep SQLite's lock; it strikes at the next hook.)"""
        hook = Hook(f"before the commit of {name}", process.name, is_commit=True)
        number = len(self.passed)
        self.passed.append(hook)
        fault = self.faults.pop(number, None)
        if fault is not None and fault.trouble is Trouble.CRASH:
            self.strike(process, fault, hook)
            raise Killed
        if fault is not None:
            self.faults.setdefault(number + 1, fault)
        return hook

    async def end_of(self, process: Process) -> None:
        """Where a crashed process stays."""
        assert process.is_stopped
        await asyncio.sleep(0)
        raise Killed

    def _check(self) -> None:
        if self.is_closed:
            raise Killed


class PlainDatabase(Database):
    """The real database, on one connection that all share; no transaction is ever interrupted half-way."""

    def __init__(self, engine: AsyncEngine, connection: AsyncConnection, clock: Clock) -> None:
        super().__init__(engine, clock.now)
        self._connection = connection

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        async with self._connection.begin():
            yield self._connection


class SimulatedDatabase(PlainDatabase):
    """The database as a process sees it: through hooks.

    A replica starts beside a process that may be alive, so its `release_all` is undone: only the lock file makes
    that right.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        connection: AsyncConnection,
        clock: Clock,
        *,
        hooks: Hooks,
        process: Process,
        is_replica: bool,
    ) -> None:
        super().__init__(engine, connection, clock)
        self._hooks = hooks
        self._process = process
        self._is_replica = is_replica

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        name = _what_storage_does()
        passed = [await self._hooks.pass_(self._process, f"before {name}")]
        changes = await changes_so_far(self._connection)
        try:
            async with self._connection.begin() as transaction:
                yield self._connection
                passed.append(self._hooks.before_commit(self._process, name))
                if self._is_replica and name.endswith("release_all"):
                    await transaction.rollback()
        except Killed:
            await self._hooks.end_of(self._process)
        matters = await changes_so_far(self._connection) != changes
        passed.append(await self._hooks.pass_(self._process, f"after {name}"))
        for hook in passed:
            hook.matters, hook.is_transaction = matters, not hook.is_commit


async def changes_so_far(connection: AsyncConnection) -> int:
    raw: Any = (await connection.get_raw_connection()).driver_connection
    return int(raw.total_changes)


def _what_storage_does() -> str:
    """`Jobs.advance delivered`: the outermost function of `storage` under way, and what it is told."""
    frame: Any = sys._getframe(3)  # past `begin` and contextlib
    name = ""
    while frame is not None and "/storage/" in frame.f_code.co_filename:
        given = frame.f_locals
        details = given.get("state") or " ".join(given.get("columns") or ())
        name = f"{frame.f_code.co_qualname} {details}".strip()
        frame = frame.f_back
    return name


class Wire(httpx.AsyncBaseTransport):
    """What a process's requests go through. The long poll has no hooks: what comes of it is stored, which has."""

    def __init__(self, hooks: Hooks, process: Process | None, carry: Callable[[httpx.Request], Any]) -> None:
        self._hooks = hooks
        self._process = process
        self._carry = carry

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        name = request.url.path.rpartition("/")[2].partition("?")[0]
        if request.method == "GET" and "." in name:
            name = f"GET *.{name.rpartition('.')[2]}"
        process = None if name == "getUpdates" else self._process
        matters = not name.startswith(_ONLY_ASK)
        (await self._hooks.pass_(process, f"before {name}")).matters = matters
        try:
            response: httpx.Response = await self._carry(request)
        finally:
            (await self._hooks.pass_(process, f"after {name}")).matters = matters
        return response
