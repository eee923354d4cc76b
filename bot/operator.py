"""The operator's voice: brings alarms to `ADMIN_USERS`, one message per trouble, and one when it is over."""

from typing import Any

import structlog
from telegram.constants import ParseMode
from telegram.error import TelegramError
from telegram.ext import ExtBot

from bot import texts
from bot.clock import Clock
from bot.patience import MINUTE_MS
from bot.texts import Words, words_for
from storage.alarms import Alarm, Alarms
from storage.peers import Peers

log = structlog.get_logger()

_TELL_AGAIN_AFTER_MS = 10 * MINUTE_MS


class OperatorsVoice:
    def __init__(self, alarms: Alarms, peers: Peers, bot: ExtBot[Any], clock: Clock, admins: list[int]) -> None:
        self._alarms = alarms
        self._peers = peers
        self._clock = clock
        self._bot = bot
        self._admins = admins

    async def do(self, alarm: Alarm) -> None:
        """Tell every admin; if none could be reached, the alarm stays due."""
        if alarm.over_at is not None and alarm.told_at is None:  # it was over before anybody could be told
            await self._alarms.told(alarm)
            return
        if alarm.over_at is not None:
            log.info("an alarm is over", alarm=alarm.key)
        else:
            log.error("an alarm: a person must act", alarm=alarm.key, about=alarm.text)
        reached = [
            await self._tell(peer.id, _said(words_for(peer.language), alarm))
            for peer in await self._peers.get(*self._admins)
        ]
        if any(reached) or not reached:
            await self._alarms.told(alarm)
        else:
            await self._alarms.put_off(alarm, until_ms=self._clock.now() + _TELL_AGAIN_AFTER_MS)

    async def _tell(self, admin: int, text: str) -> bool:
        try:
            await self._bot.send_message(admin, text, parse_mode=ParseMode.HTML)
        except TelegramError as error:
            log.warning("an admin can't be reached", admin=admin, error=type(error).__name__)
            return False
        return True


def _said(words: Words, alarm: Alarm) -> str:
    return texts.alarm(words, alarm.key, alarm.text, is_over=alarm.over_at is not None)
