"""How much is said of a trouble that lasts."""

import asyncio
import errno
import socket
import ssl
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError
from structlog.testing import capture_logs
from telegram.error import BadRequest, NetworkError

from bot.troubles import Outage, will_pass
from clocks import TurnableClock
from storage.objects import ObjectMissing, StoreUnavailable


def test_an_outage_is_a_warning_then_once_an_error_and_in_the_end_a_word() -> None:
    clock = TurnableClock()
    outage = Outage(clock, "it fails", worker="w")
    with capture_logs() as logged:
        outage.is_over()
        for _ in range(180):
            outage.goes_on(OSError("no database"))
            clock.turn(seconds=1)
        outage.is_over()
        outage.goes_on(OSError("no database"))

    assert [(line["log_level"], line.get("lasts_seconds", line.get("lasted_seconds"))) for line in logged] == [
        *[("warning", 0), ("error", 60), ("warning", 120), ("info", 180), ("warning", 0)]
    ]
    assert {line["worker"] for line in logged} == {"w"}
    assert logged[0]["error"] == "OSError"


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OperationalError("", {}, OSError()), True),
        (IntegrityError("", {}, OSError()), False),
        (NetworkError("gone"), True),
        (BadRequest("no such chat"), False),
        (ConnectionRefusedError(), True),
        (ssl.SSLError("bad record mac"), True),
        (StoreUnavailable(), True),
        (ObjectMissing(), False),
        (OSError(errno.EHOSTUNREACH, "No route to host"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (ValueError("a mistake of ours"), False),
        (ExceptionGroup("", [NetworkError("gone"), ExceptionGroup("", [ConnectionResetError()])]), True),
        (ExceptionGroup("", [NetworkError("gone"), ValueError("a mistake of ours")]), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_what_passes_by_itself_needs_nobody(error: Exception, *, passes: bool) -> None:
    assert will_pass(error) is passes


async def test_a_host_of_which_no_address_answers_needs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several errors asyncio makes one that does not tell what they were."""
    loop = asyncio.get_running_loop()

    async def addresses(*_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", 1)) for last in (1, 2)]

    monkeypatch.setattr(loop, "getaddrinfo", addresses)
    with pytest.raises(OSError, match="Multiple exceptions") as caught:
        await loop.create_connection(asyncio.Protocol, "database", 1)
    assert will_pass(caught.value)
