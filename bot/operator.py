"""The operator's voice: brings alarms to `ADMIN_USERS`, one message per trouble, and one when it is over."""

from typing import Any

import structlog
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bot import texts
from bot.clock import Clock
from bot.patience import MINUTE_MS
from bot.setbacks import ACCOUNT_ALARM, DELIVERY_ALARM
from storage.alarms import Alarm, Alarms

log = structlog.get_logger()

_TELL_AGAIN_AFTER_MS = 10 * MINUTE_MS
_OVER = {ACCOUNT_ALARM: texts.ACCOUNT_WORKS_AGAIN, DELIVERY_ALARM: texts.DELIVERY_WORKS_AGAIN}


class OperatorsVoice:
    def __init__(self, alarms: Alarms, bot: ExtBot[Any], clock: Clock, admins: list[int]) -> None:
        self._alarms = alarms
        self._clock = clock
        self._bot = bot
        self._admins = admins

    async def do(self, alarm: Alarm) -> None:
        """Tell every admin; if none could be reached, the alarm stays due."""
        text = alarm.text if alarm.over_at is None else _OVER.get(alarm.key, alarm.text)
        (log.error if alarm.over_at is None else log.info)(text, alarm=alarm.key)
        reached = [await self._tell(admin, text) for admin in self._admins]
        if any(reached) or not reached:
            await self._alarms.told(alarm)
        else:
            await self._alarms.put_off(alarm, until_ms=self._clock.now() + _TELL_AGAIN_AFTER_MS)

    async def _tell(self, admin: int, text: str) -> bool:
        try:
            await self._bot.send_message(admin, text)
        except TelegramError as error:
            log.warning("an admin can't be reached", admin=admin, error=type(error).__name__)
            return False
        return True
