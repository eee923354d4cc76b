"""Each job's status message is kept true by a loop of its own, so that no slow or failing edit holds a job up.

What a chat should see is derived from the row. The loop compares it with what was shown last, and edits sparingly.
It also brings the clear word of a job that failed, and takes the status away once the video is there.
"""

from statistics import median
from typing import Any

import structlog
from telegram.constants import ChatAction

from bot import texts
from bot.clock import Clock
from bot.config import Settings
from bot.delivery import Delivery
from bot.insist import insist
from bot.outcomes import DeliveryFailed
from bot.patience import CHAT_MAY_RETURN_MS, DAY_MS, MINUTE_MS, SECOND_MS, backoff_ms
from storage.breaker import Breaker
from storage.drafts import incoming
from storage.jobs import TERMINAL, Job, Jobs, State
from storage.statuses import Statuses

log = structlog.get_logger()

_LOOK_EVERY_MS = 10 * SECOND_MS
_EDIT_GAP_MS = 3 * SECOND_MS
_WORKING = {
    State.SUBMITTING: ChatAction.RECORD_VIDEO,
    State.RENDERING: ChatAction.RECORD_VIDEO,
    State.SAVING: ChatAction.UPLOAD_VIDEO,
    State.DELIVERING: ChatAction.UPLOAD_VIDEO,
}


class StatusKeeper:
    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        statuses: Statuses,
        jobs: Jobs,
        breaker: Breaker,
        delivery: Delivery,
    ) -> None:
        self._settings = settings
        self._breaker = breaker
        self._statuses = statuses
        self._jobs = jobs
        self._delivery = delivery
        self._clock = clock
        self._expected_ms: int | None = None
        self._expected_at = 0

    async def do(self, job: Job) -> None:
        """Bring what the chat sees in line with the row, and note when to look again."""
        try:
            if job.state in TERMINAL:
                await self._conclude(job)
            else:
                await self._show(job)
        except DeliveryFailed as failed:
            log.info("a status message can't be shown", job=job.id, error=str(failed))
            if failed.moved_to is not None:
                await self._jobs.move_chat(job.chat_id, failed.moved_to)
            wait_ms = max(int(failed.retry_after_seconds * SECOND_MS), backoff_ms(2))
            await self._look_again(job, at=self._again_at(job, wait_ms, chat_gone=failed.chat_gone))

    def _again_at(self, job: Job, wait_ms: int, *, chat_gone: bool) -> int | None:
        """When to try again; not for ever. A chat that is gone is left alone until `Jobs.wake_chat`."""
        now = self._clock.now()
        gives_up_at = job.updated_at + (CHAT_MAY_RETURN_MS if chat_gone else DAY_MS)
        if now >= gives_up_at:
            return None
        return gives_up_at if chat_gone else now + wait_ms

    async def _show(self, job: Job) -> None:
        now = self._clock.now()
        if action := _WORKING.get(job.state):
            await self._delivery.show_action(job, action)
        say = texts.status(
            job,
            place=await self._jobs.place_in_queue(job),
            paused=job.state is State.QUEUED and await self._breaker.pause() is not None,
            expected_ms=await self._expected(now) if job.state is State.RENDERING else None,
            now=now,
        )
        if say.text == job.status_shown:
            await self._look_again(job, at=None if job.state is State.COLLECTING else now + _LOOK_EVERY_MS)
            return
        if job.status_shown and job.status_shown_at and now < job.status_shown_at + _EDIT_GAP_MS:
            await self._look_again(job, at=job.status_shown_at + _EDIT_GAP_MS)
            return
        message_id = job.status_message_id
        if message_id is not None and job.status_shown is None:  # a half was replaced: say it again, below
            await self._delivery.remove(job, message_id)
            message_id = None
        said = None
        if message_id is None or not await self._delivery.edit(job, message_id, say):
            if message_id is not None:  # it may stand there still
                await self._delivery.remove(job, message_id)
            said = message_id = await self._delivery.say(job, say, reply_to=_heart_of(job), is_status=True)
        await self._keep(
            job,
            said=said,
            look_at=now + _LOOK_EVERY_MS,
            message_id=message_id,
            shown=say.text,
            shown_at=self._clock.now(),
        )

    async def _conclude(self, job: Job) -> None:
        """Bring the clear word of a failure, and note that it was said; then take the status message away."""
        if job.state is State.FAILED:
            say = texts.failure(
                job, daily_limit=self._settings.daily_limit, max_voice_seconds=self._settings.max_voice_seconds
            )
            if say.text != job.status_shown:
                said = await self._delivery.say(job, say, reply_to=_heart_of(job))
                now = self._clock.now()
                message_id = job.status_message_id
                await self._keep(job, said=said, look_at=now, message_id=message_id, shown=say.text, shown_at=now)
                return
        is_the_video = job.status_message_id is not None and job.status_message_id == job.video_message_id
        if job.status_message_id is not None and not is_the_video:
            await self._delivery.remove(job, job.status_message_id)
        await self._keep(job, look_at=None, message_id=None, shown=None, shown_at=None)

    async def _look_again(self, job: Job, *, at: int | None) -> None:
        """Nothing has changed in the chat."""
        message_id, shown, shown_at = job.status_message_id, job.status_shown, job.status_shown_at
        await self._keep(job, look_at=at, message_id=message_id, shown=shown, shown_at=shown_at)

    async def _keep(self, job: Job, *, said: int | None = None, **seen: Any) -> None:
        """Note what the chat sees. What was `said` too late is taken back: somebody else speaks for the job by now."""
        kept = await insist(self._clock, lambda: self._statuses.keep(job, **seen))
        if said is not None and not kept:
            await self._delivery.remove(job, said)

    async def _expected(self, now: int) -> int | None:
        """How long a render takes, from the latest ones; asked for once a minute."""
        if now - self._expected_at > MINUTE_MS:
            times = [took_ms for _, took_ms in await self._jobs.render_times()]
            self._expected_ms = int(median(times)) if times else None
            self._expected_at = now
        return self._expected_ms


def _heart_of(job: Job) -> int | None:
    """The message that all the others about a job reply to: the voice note, or what there is of it so far."""
    arriving = max((half.message_id for half in incoming(job)), default=None)
    return job.voice_message_id or job.photo_message_id or arriving
