"""The buttons under the bot's messages: each says what it does and to which job, as `what:job`."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from telegram import CallbackQuery, Update
from telegram.error import BadRequest, Forbidden
from telegram.ext import CallbackContext, CallbackQueryHandler

from bot import texts
from bot.telegram import TelegramApplication
from storage.drafts import Drafts
from storage.jobs import FREE, OPEN, Job, Jobs
from storage.ledger import Ledger


@dataclass(frozen=True)
class Buttons:
    jobs: Jobs
    drafts: Drafts
    ledger: Ledger
    ring: Callable[[], None]

    def register(self, application: TelegramApplication) -> None:
        application.add_handler(CallbackQueryHandler(self.press))

    async def press(self, update: Update, _context: CallbackContext[Any, Any, Any, Any]) -> None:
        """Do what the button says, if it is its owner's; answer every press, also the second and the belated one."""
        query = update.callback_query
        if query is None:
            return
        what, _, number = (query.data or "").partition(":")
        job = await self.jobs.get(int(number)) if re.fullmatch(r"[0-9]{1,18}", number) else None
        if job is None:
            toast = texts.TOO_LATE
        elif job.user_id != query.from_user.id:
            toast = texts.NOT_YOURS
        else:
            toast = await self._act(what, job)
            await _strip_buttons(query)
        self.ring()
        await _toast(query, toast)

    async def _act(self, what: str, job: Job) -> str:
        match what:
            case "anyway" if await self.drafts.accept_photo(job.id, user_id=job.user_id):
                return texts.BUTTON_USE_ANYWAY
            case "risk" if await self.ledger.risk_again(job.id, user_id=job.user_id):
                return texts.WILL_TRY_AGAIN
            case "again" if await self.drafts.again(job.id, user_id=job.user_id):
                return texts.WILL_TRY_AGAIN
            case "leave" if await self.ledger.leave(job.id, user_id=job.user_id):
                return texts.LEFT
            case "cancel" if await self.ledger.cancel(job.id, states=OPEN):
                return texts.CANCELLED if job.state in FREE else texts.CANCELLED_PAID
            case _:
                return texts.TOO_LATE


async def _toast(query: CallbackQuery, text: str) -> None:
    with suppress(BadRequest, Forbidden):  # too old to be answered
        await query.answer(text)


async def _strip_buttons(query: CallbackQuery) -> None:
    with suppress(BadRequest, Forbidden):  # gone, stripped before, or in a chat that has blocked us
        await query.edit_message_reply_markup(None)
