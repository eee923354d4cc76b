"""The queue of updates: handed out by long polling, or posted to a webhook."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count, islice

import httpx

from bot.sandbox.errors import BotApiError
from bot.sandbox.files import Raw
from bot.sandbox.stand_in import StandIn

_LONGEST_POLL_SECONDS = 50
_MOST_PER_POLL = 100
_LONGEST_BACKOFF_SECONDS = 60
_ONLY_ON_DEMAND = frozenset({"chat_member", "message_reaction", "message_reaction_count"})


@dataclass(frozen=True)
class Update:
    raw: Raw
    lane: str


@dataclass(frozen=True)
class Webhook:
    url: str
    secret_token: str


class Updates:
    def __init__(self, server: StandIn, *, first_id: int, webhook_retry_seconds: float) -> None:
        self.pending: dict[int, Update] = {}
        self.webhook: Webhook | None = None
        self.allowed: Sequence[str] = ()
        self.last_error: tuple[int, str] | None = None
        self._server = server
        self._ids = count(first_id)
        self._retry_seconds = webhook_retry_seconds
        self._poll = 0
        self._ended_by = ""
        self._lanes_under_way: set[str] = set()

    async def add(self, kind: str, body: Raw, *, lane: str) -> None:
        """Queue an update, unless the bot did not ask for its kind."""
        wanted = kind in self.allowed if self.allowed else kind not in _ONLY_ON_DEMAND
        if not wanted:
            return
        update_id = next(self._ids)
        self.pending[update_id] = Update({"update_id": update_id, kind: body}, lane)
        self._post_all()
        await self._server.announce()

    def allow(self, kinds: Sequence[str] | None) -> None:
        """Remember which kinds are wanted; None leaves it as it was, and an empty list means the usual ones."""
        if kinds is not None:
            self.allowed = tuple(kinds)

    # --- https://core.telegram.org/bots/api#getupdates ---

    async def get(self, *, offset: int, limit: int, timeout_seconds: float) -> list[Raw]:
        """Forget what lies before `offset`, and return what is pending, waiting for it if need be.

        A negative offset forgets all but so many of the last. Raises `BotApiError` 409 while a webhook is set, and in
        the older of two polls.
        """
        if self.webhook:
            raise BotApiError(
                409,
                "Conflict: can't use getUpdates method while webhook is active;"
                " use deleteWebhook to delete the webhook first",
            )
        first = sorted(self.pending)[offset:][0] if offset < 0 and self.pending else offset
        self.pending = {number: update for number, update in self.pending.items() if number >= first}
        mine = self._end_poll("other getUpdates request; make sure that only one bot instance is running")
        await self._server.announce()
        with suppress(TimeoutError):
            await self._server.wait_until(
                lambda: self.pending or self._poll != mine,
                timeout_seconds=min(max(timeout_seconds, 0), _LONGEST_POLL_SECONDS),
            )
        if self._poll != mine:
            raise BotApiError(409, f"Conflict: terminated by {self._ended_by}")
        return [update.raw for update in islice(self.pending.values(), min(max(limit, 1), _MOST_PER_POLL))]

    def _end_poll(self, ended_by: str) -> int:
        self._poll += 1
        self._ended_by = ended_by
        return self._poll

    # --- https://core.telegram.org/bots/api#setwebhook ---

    async def set_webhook(self, webhook: Webhook | None, *, drop_pending: bool) -> None:
        self.webhook = webhook
        if drop_pending:
            self.pending.clear()
        if webhook:
            self._end_poll("setWebhook request")
            self._post_all()
        await self._server.announce()

    def _post_all(self) -> None:
        if self.webhook:
            for lane in {update.lane for update in self.pending.values()} - self._lanes_under_way:
                self._lanes_under_way.add(lane)
                self._server.spawn(self._post_lane(lane))

    async def _post_lane(self, lane: str) -> None:
        """Post a chat's updates one after the other, each until it is taken."""
        failures = 0
        while webhook := self.webhook:
            update = next((update for update in self.pending.values() if update.lane == lane), None)
            if update is None:
                break
            wait_seconds = await self._post(update, webhook)
            if wait_seconds is None:
                self.pending.pop(update.raw["update_id"], None)
                failures = 0
                await self._server.announce()
            else:
                backoff_seconds = min(self._retry_seconds * 2**failures, _LONGEST_BACKOFF_SECONDS)
                failures += 1
                await asyncio.sleep(max(wait_seconds, backoff_seconds))
        self._lanes_under_way.discard(lane)

    async def _post(self, update: Update, webhook: Webhook) -> float | None:
        """Post an update; None where it was taken, else after how many seconds to try again at the earliest."""
        headers = {"X-Telegram-Bot-Api-Secret-Token": webhook.secret_token} if webhook.secret_token else {}
        try:
            response = await self._server.http.post(webhook.url, json=update.raw, headers=headers)
        except httpx.HTTPError as error:
            self.last_error = (int(self._server.now()), f"Connection failed: {type(error).__name__}")
            return 0
        if response.is_success:
            return None
        self.last_error = (
            int(self._server.now()),
            f"Wrong response from the webhook: {response.status_code} {response.reason_phrase}",
        )
        retry_after = response.headers.get("Retry-After", "0")
        return float(retry_after) if retry_after.isdecimal() else 0
