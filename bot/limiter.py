"""Telegram's rates, kept per chat, so that one flooded chat never holds up another.

"about 1 message per second" in a chat, "20 messages per minute" in a group, "about 30 messages per second" overall
(https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this); edits count like messages.

python-telegram-bot's own limiter has no limit per private chat, counts every method, and stops all chats at a 429.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from telegram._utils.types import JSONDict
from telegram.error import RetryAfter
from telegram.ext import BaseRateLimiter

from bot.clock import Clock
from bot.outcomes import wait_seconds
from bot.patience import MINUTE_MS, SECOND_MS

STATUS = "status"
"""The `rate_limit_args` of what may be left out: it never waits, and leaves the last place to what matters."""

_MATTERS = "message"  # any other message or edit

_OVERALL_PER_SECOND = 25
_COUNTED = ("send", "edit", "forward", "copy")
_FREE = ("sendChatAction",)
_LONGEST_WAIT_SECONDS = 30
_FORGET_AFTER_MS = 2 * MINUTE_MS


@dataclass
class _Bucket:
    """Tokens that flow back with time; one is taken for each message."""

    size: float
    per_second: float
    tokens: float
    at_ms: int

    def left(self, now: int) -> float:
        self.tokens = min(self.size, self.tokens + (now - self.at_ms) / SECOND_MS * self.per_second)
        self.at_ms = now
        return self.tokens

    def wait_seconds(self, now: int, *, keep: int) -> float:
        """How long until one can be taken with `keep` left over."""
        return max(0.0, (1 + keep - self.left(now)) / self.per_second)


class Limiter(BaseRateLimiter[str]):
    """What it remembers may be forgotten: Telegram's own 429 is the truth, and is obeyed for its chat."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._overall = _bucket(_OVERALL_PER_SECOND, _OVERALL_PER_SECOND, clock.now())
        self._chats: dict[object, _Bucket] = {}
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
                self._blocked_until[chat, kind] = self._clock.now() + int(wait_seconds(error) * SECOND_MS)
            raise

    def _check_open(self, chat: object, kind: str) -> None:
        """A 429 for a message shuts its chat for statuses too; any other shuts it for the like only."""
        shut_by = (kind, _MATTERS) if kind == STATUS else (kind,)
        until = max(self._blocked_until.get((chat, other), 0) for other in shut_by)
        blocked_seconds = (until - self._clock.now()) / SECOND_MS
        if blocked_seconds > 0:
            raise RetryAfter(_rounded_up(blocked_seconds))

    async def _turn(self, chat: object, kind: str) -> None:
        may_wait = kind == _MATTERS
        while True:
            self._check_open(chat, kind)
            now = self._clock.now()
            buckets = (self._overall, self._bucket_of(chat, now))
            seconds = max(bucket.wait_seconds(now, keep=0 if may_wait else 1) for bucket in buckets)
            if seconds <= 0:
                for bucket in buckets:
                    bucket.tokens -= 1
                return
            if not may_wait or seconds > _LONGEST_WAIT_SECONDS:
                raise RetryAfter(_rounded_up(seconds))
            await self._clock.wait(asyncio.Event(), seconds=seconds)

    def _bucket_of(self, chat: object, now: int) -> _Bucket:
        if chat not in self._chats:
            self._forget_quiet_chats(now)
            is_group = isinstance(chat, int) and chat < 0
            self._chats[chat] = _bucket(20, 20 / 60, now) if is_group else _bucket(4, 1, now)
        return self._chats[chat]

    def _forget_quiet_chats(self, now: int) -> None:
        self._chats = {chat: bucket for chat, bucket in self._chats.items() if now - bucket.at_ms < _FORGET_AFTER_MS}
        self._blocked_until = {chat: until for chat, until in self._blocked_until.items() if until > now}


def _bucket(size: float, per_second: float, now: int) -> _Bucket:
    return _Bucket(size, per_second, tokens=size, at_ms=now)


def _rounded_up(seconds: float) -> int:
    return int(seconds) + 1
