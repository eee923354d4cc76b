"""Each job's status message is kept true by a loop of its own, so that no slow or failing edit holds a job up.

What a chat should see is derived from the row. The loop compares it with what was shown last, and edits sparingly.
It also brings the clear word of a job that failed, and takes the status away once the video is there.
"""

from typing import Any

import structlog
from telegram.constants import ChatAction

from bot import texts
from bot.clock import Clock
from bot.config import Settings
from bot.delivery import Delivery
from bot.insist import insist
from bot.outcomes import DeliveryFailed
from bot.outlooks import Outlooks
from bot.patience import CHAT_MAY_RETURN_MS, DAY_MS, SECOND_MS, backoff_ms
from bot.texts import Say, words_for
from bot.watching import job_step
from storage.drafts import incoming
from storage.job import TERMINAL, Job, State
from storage.jobs import Jobs
from storage.notices import Notices
from storage.peers import Peers
from storage.statuses import Statuses

log = structlog.get_logger()

_LOOK_EVERY_MS = 10 * SECOND_MS
_EDIT_GAP_MS = 10 * SECOND_MS  # for a whole chat, since all that is said there counts against Telegram's limit
_LOOK_SOON_MS = 2 * SECOND_MS
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
        outlooks: Outlooks,
        notices: Notices,
        peers: Peers,
        delivery: Delivery,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._statuses = statuses
        self._jobs = jobs
        self._outlooks = outlooks
        self._notices = notices
        self._peers = peers
        self._delivery = delivery

    async def do(self, job: Job) -> None:
        """Bring what the chat sees in line with the row, and note when to look again."""
        try:
            with job_step("status", job):
                await (self._conclude(job) if job.state in TERMINAL else self._show(job))
        except DeliveryFailed as failed:
            log.info("a status message can't be shown", error=str(failed))
            if failed.moved_to is not None:
                await self._jobs.move_chat(job.chat_id, failed.moved_to)
            wait_ms = int(failed.retry_after_seconds * SECOND_MS) or backoff_ms(2)
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
        if (action := _WORKING.get(job.state)) and _is_worked_on(job):
            await self._delivery.show_action(job, action)
        outlook = await self._outlooks.of(job)
        say = texts.status(words_for(job.language), job, outlook)
        if say.text == job.status_shown:
            await self._look_again(job, at=None if job.state is State.COLLECTING else now + _LOOK_EVERY_MS)
            return
        message_id, said = job.status_message_id, None
        if message_id is not None and not _takes_its_place(job, say):
            await self._take_away(job, message_id)
            message_id = None
        elif message_id is not None:
            if not await self._notices.is_new(f"edit:{job.chat_id}", for_ms=_EDIT_GAP_MS):
                await self._look_again(job, at=now + _LOOK_SOON_MS)
                return
            if not await self._delivery.edit(job, message_id, say):
                await self._delivery.remove(job, message_id)  # it may stand there still
                message_id = None
        if message_id is None:
            is_awaited = job.state is State.COLLECTING or say.wants_answer
            said = message_id = await self._delivery.say(job, say, reply_to=_whom(job, say), is_status=not is_awaited)
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
                words_for(job.language),
                job,
                max_voice_seconds=self._settings.max_voice_seconds,
                max_file_bytes=self._settings.sizes.down,
            )
            if say.text != job.status_shown:
                said = await self._delivery.say(job, say, reply_to=_heart_of(job))
                now = self._clock.now()
                message_id = job.status_message_id
                await self._keep(job, said=said, look_at=now, message_id=message_id, shown=say.text, shown_at=now)
                return
        is_the_video = job.status_message_id is not None and job.status_message_id == job.video_message_id
        if job.status_message_id is not None and not is_the_video:
            await self._take_away(job, job.status_message_id)
        await self._keep(job, look_at=None, message_id=None, shown=None, shown_at=None)

    async def _take_away(self, job: Job, message_id: int) -> None:
        """Remove what is no longer true, unless the group has chosen to keep such chatter."""
        if job.chat_id < 0:
            [group] = await self._peers.get(job.chat_id)
            if group.keeps_chatter:
                return
        await self._delivery.remove(job, message_id)

    async def _look_again(self, job: Job, *, at: int | None) -> None:
        """Nothing has changed in the chat."""
        message_id, shown, shown_at = job.status_message_id, job.status_shown, job.status_shown_at
        await self._keep(job, look_at=at, message_id=message_id, shown=shown, shown_at=shown_at)

    async def _keep(self, job: Job, *, said: int | None = None, **seen: Any) -> None:
        """Note what the chat sees. What was `said` too late is taken back: somebody else speaks for the job by now."""
        kept = await insist(self._clock, lambda: self._statuses.keep(job, **seen))
        if said is not None and not kept:
            await self._delivery.remove(job, said)


def _is_worked_on(job: Job) -> bool:
    """Whether somebody is at it now: AKOOL, or a worker of ours. Most waiting is for a person, or for the next try."""
    return job.state is State.RENDERING or job.claim is not None


def _takes_its_place(job: Job, say: Say) -> bool:
    """Whether a status message may be edited into the next.

    What wants an answer is said anew, so that it is noticed; and a question can't be edited, once it was asked by
    ForceReply (https://core.telegram.org/bots/api#editmessagetext).
    """
    asked = texts.asks_in_group(words_for(job.language), job.status_shown) and job.chat_id < 0
    return job.status_shown is not None and not asked and not say.wants_answer


def _whom(job: Job, say: Say) -> int | None:
    """What a status replies to: a question asks whoever wants the video, whosever photo or voice it is."""
    return job.asked_message_id if say.asks is not None and job.asked_message_id else _heart_of(job)


def _heart_of(job: Job) -> int | None:
    """The message that all the others about a job reply to: the voice note, or what there is of it so far."""
    arriving = max((half.message_id for half in incoming(job)), default=None)
    return job.voice_message_id or job.photo_message_id or arriving or job.asked_message_id
