"""Telegram's updates: stored first, acknowledged then, handled after that, once and in order within a chat.

python-telegram-bot's own updater acknowledges what stands in its memory only, so a crash would lose it; and one
update that it can't parse would stop all the others. Here the offset moves after the commit, and what can't be
parsed is set aside.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from functools import partial
from typing import Any

import httpx
import structlog
from telegram import Update
from telegram.ext import CallbackContext

from bot.clock import Clock
from bot.leases import keeping_the_lease
from bot.metrics import telegram_call
from bot.patience import DAY_MS, LEASE_MS, MINUTE_MS, SECOND_MS, backoff_ms
from bot.telegram import ALLOWED_UPDATES, TelegramApplication
from bot.troubles import Outage, will_pass
from bot.watching import step
from storage.replicas import Held
from storage.updates import StoredUpdate, Updates

log = structlog.get_logger()


_ID_LIMIT = 1 << 63
_PAUSE_SECONDS = 0.3
_POLL_SECONDS = 50  # the most that the Bot API server allows
_MOST_PER_POLL = 100
_STAND_BY_SECONDS = 5
_FORGET_OFFSET_AFTER_MS = 6 * DAY_MS  # after a week of silence Telegram starts from a random id
_MOST_ATTEMPTS = 5
_MOST_PATIENT_ATTEMPTS = 24 * 60  # about a day


class Intake:
    """Stores updates; whoever calls `store` may acknowledge them when it returns."""

    def __init__(self, updates: Updates, ring: Callable[[], None]) -> None:
        self._updates = updates
        self._ring = ring

    async def store(self, batch: Iterable[Any]) -> int | None:
        """Store raw updates durably; returns the highest `update_id`, None where there was none."""
        batch = list(batch)
        found = [raw for raw in batch if isinstance(raw, dict) and _is_id(raw.get("update_id"))]
        if len(found) < len(batch):
            log.warning("updates without a usable id were left out", count=len(batch) - len(found))
        await self._updates.store([(raw["update_id"], lane_of(raw), json.dumps(raw)) for raw in found])
        self._ring()
        return max((raw["update_id"] for raw in found), default=None)


def lane_of(raw: dict[str, Any]) -> int:
    """The chat that an update is about, else its sender: what belongs together stays in order."""
    for content in raw.values():
        if not isinstance(content, dict):
            continue
        message = content.get("message")  # what a button was pressed under
        for holder, party in ((message, "chat"), (content, "chat"), (content, "from")):
            who = holder.get(party) if isinstance(holder, dict) else None
            if isinstance(who, dict) and _is_id(who.get("id")):
                return int(who["id"])
    return 0


def _is_id(value: object) -> bool:
    return isinstance(value, int) and abs(value) < _ID_LIMIT


class Poller:
    """Long polling, with an offset that moves only after the commit.

    Telegram serves one poller only: who does not get the `duty` stands by, and takes over from one that is gone.

    `beat_at` is when a poll last came back well; `turns` goes up also where they fail, unless one is stuck.
    """

    def __init__(
        self, http: httpx.AsyncClient, *, token: str, api_url: str, intake: Intake, duty: Held, clock: Clock
    ) -> None:
        self._http = http
        self._root = f"{api_url}/bot{token}"
        self._intake = intake
        self._duty = duty
        self._is_polling = False
        self._clock = clock
        self._offset: int | None = None
        self._last_update_at = clock.now()
        self.beat_at = clock.now()
        self.turns = 0

    async def run(self) -> None:
        """Poll until cancelled. A cancelled poll loses nothing: what it had is not acknowledged."""
        failures = 0
        outage = Outage(self._clock, "getUpdates failed")
        while True:
            self.turns += 1
            try:
                await self._poll() if await self._has_the_duty() else await self._stand_by()
                outage.is_over()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever it is, polling goes on
                # Never the error's text: it may hold the URL, and with it the token.
                outage.goes_on(error, why=_why(error))
                delay_ms = backoff_ms(failures, first_ms=SECOND_MS, most_ms=30 * SECOND_MS)
                failures += 1
                await self._clock.wait(asyncio.Event(), seconds=delay_ms / SECOND_MS)

    async def _has_the_duty(self) -> bool:
        has_it = await self._duty.take()
        if has_it and not self._is_polling:
            self._offset = None
            await self._remove_webhook()
        self._is_polling = has_it
        return has_it

    async def _remove_webhook(self) -> None:
        with telegram_call("deleteWebhook") as answer:
            response = await self._http.post(f"{self._root}/deleteWebhook", json={"drop_pending_updates": False})
            answer.status = response.status_code
        if response.is_server_error:
            response.raise_for_status()
        if response.is_client_error:  # if there is one, polling will say so
            log.warning("a webhook, if there is one, can't be removed", status=response.status_code)

    async def _stand_by(self) -> None:
        self.beat_at = self._clock.now()
        await self._clock.wait(asyncio.Event(), seconds=_STAND_BY_SECONDS)

    async def _poll(self) -> None:
        question: dict[str, Any] = {
            "timeout": _POLL_SECONDS,
            "limit": _MOST_PER_POLL,
            "allowed_updates": ALLOWED_UPDATES,
        }
        if self._offset is not None:
            question["offset"] = self._offset
        asked_at = self._clock.now()
        with telegram_call("getUpdates") as answer:
            response = await self._http.post(f"{self._root}/getUpdates", json=question, timeout=_POLL_SECONDS + 15)
            answer.status = response.status_code
        response.raise_for_status()
        highest = await self._intake.store(response.json()["result"])
        now = self._clock.now()
        self.beat_at = now
        if highest is not None:
            self._offset = highest + 1
            self._last_update_at = now
            return
        if now - self._last_update_at > _FORGET_OFFSET_AFTER_MS:
            self._offset = None
        if now - asked_at < SECOND_MS:  # a server that does not let us wait there
            await self._clock.wait(asyncio.Event(), seconds=_PAUSE_SECONDS)


def _why(error: Exception) -> str | None:
    if not isinstance(error, httpx.HTTPStatusError):
        return None
    return {
        401: "the token is wrong",
        404: "the token is wrong",
        409: "another process polls with this token, or a webhook is set",
    }.get(error.response.status_code, f"HTTP {error.response.status_code}")


_trouble: ContextVar[list[Exception]] = ContextVar("trouble")


class Dispatcher:
    """Hands stored updates to the handlers of python-telegram-bot."""

    def __init__(self, application: TelegramApplication, updates: Updates, clock: Clock) -> None:
        self._application = application
        self._updates = updates
        self._clock = clock
        application.add_error_handler(_note_trouble)

    async def do(self, stored: StoredUpdate) -> None:
        """Handle an update; try again what fails, a few times, and then set it aside."""
        extend = partial(self._updates.extend, stored, lease_ms=LEASE_MS)
        with step("update", update=stored.update_id, chat=stored.lane):
            await keeping_the_lease(self._do(stored), extend=extend, clock=self._clock)

    async def _do(self, stored: StoredUpdate) -> None:
        try:
            update = Update.de_json(stored.json, self._application.bot)
        except Exception as error:  # noqa: BLE001 - nothing that somebody sends may stop the rest
            log.error("an update can't be parsed, and is set aside", error=type(error).__name__)
            await self._updates.set_aside(stored, error=f"unparsable: {type(error).__name__}")
            return
        trouble: list[Exception] = []
        _trouble.set(trouble)
        try:
            await self._application.process_update(update)
        except Exception as error:  # noqa: BLE001 - it sees to what handlers raise, but not to what it meets itself
            trouble.append(error)
        if not trouble:
            await self._updates.finish(stored)
            return
        attempts = stored.attempts + 1
        if attempts >= (_MOST_PATIENT_ATTEMPTS if will_pass(trouble[0]) else _MOST_ATTEMPTS):
            log.error("an update can't be handled, and is set aside", attempts=attempts, exc_info=trouble[0])
            await self._updates.set_aside(stored, error=type(trouble[0]).__name__)
        else:
            log.warning("an update can't be handled; trying again later", attempts=attempts, exc_info=trouble[0])
            due_at = self._clock.now() + backoff_ms(stored.attempts, most_ms=MINUTE_MS)
            await self._updates.retry(stored, due_at=due_at)


async def _note_trouble(_update: object, context: CallbackContext[Any, Any, Any, Any]) -> None:
    """`process_update` swallows what handlers raise; this is how `Dispatcher` learns of it."""
    if isinstance(context.error, Exception):
        _trouble.get().append(context.error)
