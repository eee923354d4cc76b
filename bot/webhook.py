"""Telegram's webhook: set by one replica for all of them, only where it has changed, and looked after.

Source: https://core.telegram.org/bots/api#setwebhook, https://core.telegram.org/bots/api#getwebhookinfo
"""

import asyncio
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import structlog
from telegram import WebhookInfo
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bot.clock import Clock
from bot.metrics import WEBHOOK_TROUBLE
from bot.patience import MINUTE_MS, SECOND_MS, backoff_ms
from bot.telegram import ALLOWED_UPDATES
from storage.engine import DATABASE_ERRORS
from storage.notices import Notices
from storage.replicas import Held

log = structlog.get_logger()

_LOOK_AFTER_MS = 5 * MINUTE_MS
_ATTEMPTS_AT_START = 6  # some sixteen seconds


@dataclass(frozen=True)
class Webhook:
    """Where Telegram is to post updates, and the secret that it sends along."""

    url: str
    secret: str


class WebhookKeeper:
    def __init__(self, bot: ExtBot[Any], notices: Notices, duty: Held, clock: Clock, webhook: Webhook) -> None:
        self._bot = bot
        self._notices = notices
        self._duty = duty
        self._clock = clock
        self._webhook = webhook
        self._failures = 0

    async def set_up(self) -> None:
        """Return once the webhook is set; or after a while, since an earlier one may still be good, or soon set."""
        while not await self._look() and self._failures < _ATTEMPTS_AT_START:
            await self._pause()

    async def run(self) -> None:
        """Look after it until cancelled: whatever else uses the token may take it away, and then nothing comes."""
        while True:
            await self._pause()
            await self._look()

    async def _pause(self) -> None:
        backoff = backoff_ms(self._failures - 1, first_ms=SECOND_MS // 4, most_ms=_LOOK_AFTER_MS)
        pause_ms = backoff if self._failures else _LOOK_AFTER_MS
        await self._clock.wait(asyncio.Event(), seconds=pause_ms / SECOND_MS)

    async def _look(self) -> bool:
        """Set what has changed, if no other replica is about it; whether all is as it should be."""
        is_well = await self._set_if_it_is_our_turn()
        self._failures = 0 if is_well else self._failures + 1
        return is_well

    async def _set_if_it_is_our_turn(self) -> bool:
        try:
            async with self._duty.for_now() as is_ours:
                if is_ours:
                    await self._set_what_changed()
                return is_ours
        except (TelegramError, *DATABASE_ERRORS) as error:
            WEBHOOK_TROUBLE.set(1)
            log.warning("the webhook can't be set; trying again", error=type(error).__name__)
            return False

    async def _set_what_changed(self) -> None:
        info = await self._info()
        wanted = f"{self._webhook.url} {self._webhook.secret} {ALLOWED_UPDATES}"
        digest = sha256(wanted.encode()).hexdigest()  # Telegram tells the URL, but never the secret
        subject = f"{self._bot.id} webhook"
        if info is not None and info.url == self._webhook.url and await self._notices.holds(subject, digest):
            self._say_trouble(info)
            return
        await self._bot.set_webhook(
            self._webhook.url, secret_token=self._webhook.secret, allowed_updates=ALLOWED_UPDATES
        )
        await self._notices.keep(subject, digest)
        WEBHOOK_TROUBLE.set(0)
        log.info("the webhook is set")

    async def _info(self) -> WebhookInfo | None:
        """What Telegram says of it; None where it does not."""
        try:
            return await self._bot.get_webhook_info()
        except TelegramError as error:
            log.debug("nothing is known of the webhook", error=type(error).__name__)
            return None

    def _say_trouble(self, info: WebhookInfo) -> None:
        failed_at = info.last_error_date.timestamp() * SECOND_MS if info.last_error_date else 0
        is_failing = self._clock.now() - failed_at < _LOOK_AFTER_MS
        WEBHOOK_TROUBLE.set(is_failing)
        if is_failing:
            log.warning(
                "Telegram can't deliver updates", why=info.last_error_message, waiting=info.pending_update_count
            )
