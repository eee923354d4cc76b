"""Places where the service can be struck: before and after each commit that writes, and each request to the outside.

They hang at the seams of the libraries, SQLAlchemy's events and httpx's transport, so that the service needs no test
mode and a new commit or a new request is a hook by itself. What only looks on is left out: transactions that changed
no row, Telegram's long poll (which always is under way), and chat actions and AKOOL's credit, on which nothing depends.
"""

from collections.abc import Callable
from typing import Any

import httpx
from sqlalchemy import Connection, Engine, Pool, event

Pass = Callable[[str], None]
"""Told the name of each hook when it is passed, in the event loop's thread; may never return."""

_LEFT_OUT = frozenset({"getUpdates", "sendChatAction", "info"})
_WRITES, _COMMITTED = "hooks.writes", "hooks.committed"  # in a connection's `info`
_CLAIMS = ("claim", "status_claim")
_NOISE = frozenset(
    {*_CLAIMS, "updated_at", "due_at", "rung", "attempts", "error", "status_rung", "status_at", "status_shown_at"}
)


def install(passing: Pass) -> None:
    """Call `passing` at every hook of this process from now on."""
    _at_commits(passing)
    _at_requests(passing)


def _at_commits(passing: Pass) -> None:
    @event.listens_for(Engine, "after_cursor_execute")
    def note(connection: Connection, cursor: Any, *rest: Any) -> None:
        context = rest[2]
        is_write = context.isinsert or context.isupdate or context.isdelete
        if context.isddl or (is_write and cursor.rowcount != 0):
            connection.info.setdefault(_WRITES, []).append("schema" if context.isddl else _named(context))

    @event.listens_for(Engine, "rollback")
    def forget(connection: Connection) -> None:
        if not connection.invalidated:  # with it goes what was noted of it
            connection.info.pop(_WRITES, None)

    @event.listens_for(Engine, "commit")
    def before(connection: Connection) -> None:
        if writes := connection.info.pop(_WRITES, None):
            commit = f"commit of {' + '.join(dict.fromkeys(writes))}"
            passing(f"before {commit}")
            connection.info[_COMMITTED] = commit

    @event.listens_for(Pool, "checkin")
    def after(_dbapi_connection: Any, record: Any) -> None:
        # Between the commit and the connection's return to the pool nothing of ours is run.
        if commit := record.info.pop(_COMMITTED, None):
            passing(f"after {commit}")


def _named(context: Any) -> str:
    """What a statement writes: the table, and the state that a row is put into, or else what is told of it."""
    statement = context.compiled.statement
    table = statement.table.name
    if context.isdelete:
        return f"old {table}"
    if context.isinsert:
        return f"new {table}"
    written = {getattr(column, "name", column): value for column, value in statement._values.items()}
    if "state" in written:
        return f"{table} {written['state'].value}"
    if told := sorted(set(written) - _NOISE):
        return f"{table} ({', '.join(told)})"
    claims = [f"{table} {name}ed" for name in _CLAIMS if _is_set(written.get(name))]
    return claims[0] if claims else f"{table} let go"


def _is_set(value: Any) -> bool:
    return getattr(value, "value", None) is not None or getattr(value, "key", None) == "claimed_by"


def _at_requests(passing: Pass) -> None:
    send = httpx.AsyncHTTPTransport.handle_async_request

    async def handle_async_request(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        name = _name_of(request)
        if name in _LEFT_OUT:
            return await send(self, request)
        passing(f"before {name}")
        response = await send(self, request)
        passing(f"after {name}")  # its head is there, so the other side has acted
        return response

    httpx.AsyncHTTPTransport.handle_async_request = handle_async_request  # type: ignore[method-assign]


def _name_of(request: httpx.Request) -> str:
    path = request.url.path
    last = path.rpartition("/")[2]
    if path.startswith("/file/"):
        return "GET file"
    return "GET result" if last.endswith(".mp4") else last
