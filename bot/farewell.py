"""Forgetting a person: their jobs are ended, their files deleted, their rows gone.

Each part can be done again, so that a press that was interrupted is simply handled once more: the rows, which know
where the files are, go last.
"""

from contextlib import suppress
from dataclasses import dataclass

import structlog
from telegram import Bot
from telegram.error import TelegramError

from storage.forgetting import Forgetting
from storage.job import TERMINAL, Job
from storage.objects import ObjectStore

log = structlog.get_logger()


@dataclass(frozen=True)
class Farewell:
    bot: Bot
    forgetting: Forgetting
    store: ObjectStore

    async def forget(self, person_id: int) -> None:
        """Delete all that is here of a person but the ledger's rows. Raises `StoreError`."""
        jobs = await self.forgetting.cancel_all(person_id)
        for job in jobs:
            await self._take_status_away(job)
        for key in {key for job in jobs for key in (job.photo_key, job.voice_key, job.video_key) if key}:
            await self.store.delete(key)
        await self.forgetting.delete(person_id)
        log.info("a person was forgotten", jobs=len(jobs))

    async def _take_status_away(self, job: Job) -> None:
        if job.state not in TERMINAL and job.status_message_id is not None:
            with suppress(TelegramError):
                await self.bot.delete_message(job.chat_id, job.status_message_id)
