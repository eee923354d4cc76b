"""Troubles: which of them pass by themselves, and how much is said of one that lasts."""

import errno
import socket
import ssl
from typing import Any

import structlog
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError, SQLAlchemyError
from telegram.error import BadRequest, NetworkError, RetryAfter

from bot.clock import Clock
from storage.objects import ObjectMissing, StoreError

log = structlog.get_logger()

_SAID_EVERY_MS = 60_000
_UNREACHABLE = (errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN)
_WILL = (
    *(NetworkError, RetryAfter, SQLAlchemyError, StoreError),
    *(ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError),
)
_WILL_NOT = (BadRequest, IntegrityError, DataError, ProgrammingError, ObjectMissing)
_MACHINES_OWN = (
    *(errno.EACCES, errno.EDQUOT, errno.EMFILE, errno.ENFILE),
    *(errno.ENOENT, errno.ENOSPC, errno.EROFS),
)
_OF_SEVERAL_ADDRESSES = "Multiple exceptions: "  # each failed in its own way, as with IPv6 and IPv4 of one name


def will_pass(error: BaseException) -> bool:
    """Whether it is nobody's fault here: the database, the store, the network or Telegram does not work for now."""
    if isinstance(error, BaseExceptionGroup):  # of a task group, where what is done about a trouble met another one
        return all(map(will_pass, error.exceptions))
    return (isinstance(error, _WILL) and not isinstance(error, _WILL_NOT)) or _is_unreachable(error)


def is_machines_own(error: BaseException) -> bool:
    """Whether it is this machine's trouble (a full disk, rights): it waits for a person, and no job can help it."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_machines_own, error.exceptions))
    return isinstance(error, OSError) and error.errno in _MACHINES_OWN


def _is_unreachable(error: BaseException) -> bool:
    """Whether it is the system's word that nobody is there, for which Python has no class, or asyncio's of several."""
    is_asyncios = str(error).startswith(_OF_SEVERAL_ADDRESSES)
    return isinstance(error, OSError) and (error.errno in _UNREACHABLE or is_asyncios)


class Outage:
    """A trouble that is tried away, by trying again and again.

    It begins as a warning, and is said once a minute while it lasts: after the first minute, once, as an error, since
    what has not passed by then may need a person. When it is over that is said, too.
    """

    def __init__(self, clock: Clock, event: str, **facts: Any) -> None:
        self._clock = clock
        self._event = event
        self._facts = facts
        self._since: int | None = None
        self._said_at = 0
        self._is_alarming = False

    def goes_on(self, error: Exception, **facts: Any) -> None:
        """It was tried again, in vain. `facts` go into the line beside those that are always there."""
        now = self._clock.now()
        if self._since is None:
            self._since = now
        elif now - self._said_at < _SAID_EVERY_MS:
            return
        self._said_at = now
        lasts_ms = now - self._since
        alarms = lasts_ms >= _SAID_EVERY_MS and not self._is_alarming
        self._is_alarming |= alarms
        say = log.error if alarms else log.warning
        say(self._event, error=type(error).__name__, lasts_seconds=lasts_ms // 1000, **self._facts, **facts)

    def is_over(self) -> None:
        """It works, again or as always."""
        if self._since is None:
            return
        lasted_seconds = (self._clock.now() - self._since) // 1000
        log.info("that trouble is over", trouble=self._event, lasted_seconds=lasted_seconds, **self._facts)
        self._since, self._is_alarming = None, False
