"""Telegram's rates, kept per chat, so that one flooded chat never holds up another.

"about 1 message per second" in a chat, "20 messages per minute" in a group, "about 30 messages per second" overall
(https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this); edits count like messages.

python-telegram-bot's own limiter has no limit per private chat, counts every method, and stops all chats at a 429.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import structlog
from telegram._utils.types import JSONDict
from telegram.error import RetryAfter
from telegram.ext import BaseRateLimiter

from bot.clock import Clock
from bot.outcomes import wait_seconds
from bot.patience import MINUTE_MS, SECOND_MS
from storage.engine import DATABASE_ERRORS
from storage.rates import Rate, Rates

log = structlog.get_logger()

STATUS = "status"
"""The `rate_limit_args` of what may be left out: it never waits, and leaves the last place to what matters."""

_MATTERS = "message"  # any other message or edit

_COUNTED = ("send", "edit", "forward", "copy")
_FREE = ("sendChatAction",)
_LONGEST_WAIT_MS = 30 * SECOND_MS
_OVERALL = Rate("overall", every_ms=SECOND_MS // 20, burst=10)  # no more than 30 in any second


class Limiter(BaseRateLimiter[str]):
    """What it remembers may be forgotten: Telegram's own 429 is the truth, and is obeyed for its chat.

    `rates` are shared with the other replicas, if there are any.
    """

    def __init__(self, clock: Clock, rates: Rates) -> None:
        self._clock = clock
        self._rates = rates
        self._blocked_until: dict[tuple[object, str], int] = {}

    async def initialize(self) -> None:
        """Nothing is needed."""

    async def shutdown(self) -> None:
        """Nothing is held."""

    async def process_request(  # noqa: PLR0917 - python-telegram-bot's signature
        self,
        callback: Callable[..., Coroutine[Any, Any, bool | JSONDict | list[JSONDict]]],
        args: Any,
        kwargs: dict[str, Any],
        endpoint: str,
        data: dict[str, Any],
        rate_limit_args: str | None,
    ) -> bool | JSONDict | list[JSONDict]:
        """Make the call when it is its turn; raise `RetryAfter` at once where that is too far away."""
        chat = data.get("chat_id")
        is_counted = endpoint.startswith(_COUNTED) and endpoint not in _FREE
        kind = endpoint if not is_counted else rate_limit_args or _MATTERS
        if chat is not None:
            self._check_open(chat, kind)
            if is_counted:
                await self._turn(chat, kind)
        try:
            return await callback(*args, **kwargs)
        except RetryAfter as error:
            if chat is not None:
                await self._block(chat, kind, for_ms=int(wait_seconds(error) * SECOND_MS))
            raise

    def _check_open(self, chat: object, kind: str) -> None:
        """A 429 for a message shuts its chat for statuses too; any other shuts it for the like only."""
        shut_by = (kind, _MATTERS) if kind == STATUS else (kind,)
        until = max(self._blocked_until.get((chat, other), 0) for other in shut_by)
        blocked_seconds = (until - self._clock.now()) / SECOND_MS
        if blocked_seconds > 0:
            raise RetryAfter(_rounded_up(blocked_seconds))

    async def _block(self, chat: object, kind: str, *, for_ms: int) -> None:
        now = self._clock.now()
        self._blocked_until = {which: until for which, until in self._blocked_until.items() if until > now}
        self._blocked_until[chat, kind] = now + for_ms
        if kind == _MATTERS:
            with suppress(*DATABASE_ERRORS):  # then the others hear it from Telegram
                await self._rates.hold(_rate_of(chat), until_ms=now + for_ms)

    async def _turn(self, chat: object, kind: str) -> None:
        may_wait = kind == _MATTERS
        while True:
            self._check_open(chat, kind)
            try:
                wait_ms = await self._rates.take((_OVERALL, _rate_of(chat)), keep=0 if may_wait else 1)
            except DATABASE_ERRORS as error:
                log.warning("Telegram's rates can't be kept for now", error=type(error).__name__)
                return
            if wait_ms == 0:
                return
            if not may_wait or wait_ms > _LONGEST_WAIT_MS:
                raise RetryAfter(_rounded_up(wait_ms / SECOND_MS))
            await self._clock.wait(asyncio.Event(), seconds=wait_ms / SECOND_MS)


def _rate_of(chat: object) -> Rate:
    is_group = isinstance(chat, int) and chat < 0
    return Rate(f"chat {chat}", *((MINUTE_MS // 20, 20) if is_group else (SECOND_MS, 4)))


def _rounded_up(seconds: float) -> int:
    return int(seconds) + 1
