"""What a setback means for a job: try again, and when; wait for something; or end it with a clear word."""

import logging
from dataclasses import dataclass
from typing import Any

import structlog
from telegram.error import TelegramError

from akool import ABOUT_THE_ACCOUNT, Accepted, AkoolError, CreateFailed, Fault, Video
from bot.clock import Clock
from bot.metrics import RETRIES
from bot.outcomes import DeliveryFailed
from bot.patience import CHAT_MAY_RETURN_MS, DAY_MS, MINUTE_MS, SECOND_MS, backoff_ms, create_again_after_ms
from bot.texts import ACCOUNT_ALARM, DELIVERY_ALARM, MEDIA_ALARM
from bot.troubles import is_machines_own, will_pass
from storage.alarms import Alarms
from storage.breaker import Breaker
from storage.job import CHAT_GONE, NOT_ALLOWED, OUR_FAULT, SUBMIT_UNKNOWN, VIDEO_KEPT, VIDEO_LOST, Job, State
from storage.jobs import Jobs, look_again
from storage.ledger import Ledger
from storage.objects import ObjectMissing

log = structlog.get_logger()

_RESULT_LIFE_MS = 7 * DAY_MS  # "valid for 7 days": AKOOL's manual page
_DELIVERY_LIFE_MS = DAY_MS
_FEWEST_TRIES = 8  # however late it is: perhaps it was we who were away
_ASK_AGAIN_AFTER_MS = 5 * MINUTE_MS
_MOST_FAULTS = 12  # in half an hour, or in an hour where an outage has made the waits long
_MOST_REFUSED_FETCHES = 8
_MOST_FETCHES = 300  # a day of them, by the longest wait between two

# AKOOL documents no list of reasons for a failed render; these words stand in those that were seen.
_RENDER_FAILURES = {
    "render_failed_rules": ("nsfw", "sensitive", "moderation", "policy", "violat", "inappropriate", "prohibited"),
    "render_failed_face": ("face", "person", "portrait"),
    "render_failed_voice": ("audio", "voice", "sound", "speech"),
    "render_failed_photo": ("image", "photo", "picture"),
}


@dataclass(frozen=True)
class Setbacks:
    clock: Clock
    jobs: Jobs
    ledger: Ledger
    breaker: Breaker
    alarms: Alarms

    async def not_accepted(self, job: Job, error: AkoolError, *, answer_expected_until: int) -> None:
        """A create call failed. Repeated is only one that was surely not accepted."""
        unknown = error.accepted is Accepted.UNKNOWN
        # Of an account that is refused the alarm says so, once.
        needs_a_person = error.fault is Fault.OPERATOR and not isinstance(error, ABOUT_THE_ACCOUNT)
        log.log(
            logging.ERROR if needs_a_person else logging.WARNING,
            "nobody knows whether AKOOL took the job" if unknown else "AKOOL did not take the job",
            error=type(error).__name__,
            code=error.code,
            http=error.http_status,
            why=error.msg,
            attempts=job.attempts,
        )
        if unknown:
            await self.jobs.release(job, due_at=answer_expected_until)
        elif isinstance(error, ABOUT_THE_ACCOUNT):
            await self._pause(job, error)
        else:
            await self._again_or_end(job, error)

    async def are_over(self) -> None:
        """AKOOL has taken a job: if all had to wait, they go on."""
        if await self.breaker.pause() is not None:
            log.info("AKOOL takes jobs again")
            await self.alarms.over(ACCOUNT_ALARM)
            await self.breaker.reset()  # last: whoever finds the pause still there says all this again

    async def _pause(self, job: Job, error: AkoolError) -> None:
        """The account itself is refused, and so would be every job: all wait, and the operator hears of it."""
        await self.breaker.trip(type(error).__name__, tried_at=job.submitted_at or 0)
        await self.alarms.raise_(ACCOUNT_ALARM, type(error).__name__)
        await self._back_into_queue(job, due_at=self.clock.now(), attempts=job.attempts, refused_at=None)

    async def _again_or_end(self, job: Job, error: AkoolError) -> None:
        is_about_media = error.fault is Fault.INPUT or isinstance(error, CreateFailed)
        if is_about_media:  # so the account itself is all right
            await self.are_over()
        reason = "media_refused" if is_about_media else "akool_refused" if not error.retryable else "akool_busy"
        now = self.clock.now()
        is_known = job.reason == reason  # each trouble has its own patience
        attempts, refused_at = (job.attempts, job.refused_at or now) if is_known else (0, now)
        again_ms = create_again_after_ms(error, attempts=attempts, refused_for_ms=now - refused_at)
        if again_ms is None and is_about_media and await self.alarms.is_open(MEDIA_ALARM):
            again_ms = _ASK_AGAIN_AFTER_MS  # AKOOL can fetch nobody's files: these are not to blame
        if again_ms is None:
            await self.ledger.close(job, outcome="refused", state=State.FAILED, reason=reason)
        else:
            await self._back_into_queue(
                job, due_at=now + again_ms, attempts=attempts + 1, refused_at=refused_at, reason=reason
            )

    async def _back_into_queue(self, job: Job, **columns: Any) -> None:
        RETRIES.labels(job.state).inc()
        await self.ledger.close(job, outcome="refused", state=State.QUEUED, claim=None, **columns)

    async def step_failed(self, job: Job, error: Exception) -> Job | None:
        """A step raised. What passes by itself, or needs a person for all jobs, costs nothing but time.

        Anything else would fail for ever: it is counted, and ends the job with a clear word.
        """
        cause = error.cause if isinstance(error, DeliveryFailed) else error
        faults = job.faults + (not will_pass(cause) and not is_machines_own(cause))
        if faults >= _MOST_FAULTS:
            return await self._give_up(job, error)
        is_expected = will_pass(cause) or isinstance(cause, TelegramError)
        level = logging.WARNING if is_expected else logging.ERROR
        log.log(level, "a step failed; trying again later", attempts=job.attempts, faults=faults, exc_info=error)
        RETRIES.labels(job.state).inc()
        await self.jobs.retry(job, due_at=self.clock.now() + backoff_ms(job.attempts), faults=faults)
        return None

    async def _give_up(self, job: Job, error: Exception) -> Job:
        log.error("a step failed too often; its job is given up", faults=_MOST_FAULTS, exc_info=error)
        news: dict[str, Any] = {"reason": VIDEO_KEPT if job.video_key else OUR_FAULT}
        if isinstance(error, ObjectMissing):
            news = {"reason": VIDEO_LOST, "video_key": None}  # so that another try makes another one
        elif job.state is State.SUBMITTING:
            news = {"reason": SUBMIT_UNKNOWN, "paid": 1}
        return await self.ledger.close(job, outcome="unknown", state=State.FAILED, **news)

    def is_unfetchable(self, job: Job, error: TelegramError) -> bool:
        """Whether to ask Telegram no more for what was sent, after this error."""
        if will_pass(error):
            return job.attempts + 1 >= _MOST_FETCHES
        return job.faults + 1 >= _MOST_REFUSED_FETCHES

    async def not_saved(self, job: Job, trouble: Exception) -> Job | None:
        """The result could not be fetched whole: again, for as long as AKOOL keeps it."""
        now = self.clock.now()
        log.warning("the result can't be fetched", error=str(trouble), attempts=job.attempts)
        if now - (job.rendered_at or now) > _RESULT_LIFE_MS and job.attempts >= _FEWEST_TRIES:
            return await self.jobs.advance(job, State.FAILED, reason="result_lost")
        RETRIES.labels(job.state).inc()
        await self.jobs.retry(job, due_at=now + backoff_ms(job.attempts))
        return None

    async def not_delivered(self, job: Job, failed: DeliveryFailed, *, may_be_there: bool) -> Job | None:
        """The video did not get into the chat, as far as we know; `may_be_there`: by an earlier try, perhaps."""
        now = self.clock.now()
        log.log(
            logging.INFO if failed.chat_gone else logging.WARNING,  # whoever blocks us has chosen to
            "a video was not delivered",
            error=str(failed),
            may_be_there=failed.may_be_sent,
            attempts=job.attempts,
        )
        sending_at = job.sending_at if may_be_there or failed.may_be_sent else None
        if failed.moved_to is not None:
            await self.jobs.move_chat(job.chat_id, failed.moved_to)
            await self.jobs.release(job, due_at=now, sending_at=None)
        elif failed.notes_forbidden and job.is_round:
            await self.jobs.release(job, due_at=now, sending_at=sending_at, is_round=0)
        elif failed.chat_gone:
            return await self._await_chat(job, now, sending_at)
        elif now - job.since > _DELIVERY_LIFE_MS and job.attempts >= _FEWEST_TRIES:
            if not failed.not_allowed:
                await self.alarms.raise_(DELIVERY_ALARM, str(job.id))
            return await self.jobs.advance(job, State.FAILED, reason="undeliverable")
        else:
            wait_ms = max(int(failed.retry_after_seconds * SECOND_MS), backoff_ms(job.attempts))
            news = {"reason": NOT_ALLOWED, **look_again(now)} if failed.not_allowed else {}
            RETRIES.labels(job.state).inc()
            await self.jobs.retry(job, due_at=now + wait_ms, sending_at=sending_at, **news)
        return None

    async def delivery_works(self) -> None:
        """Telegram has taken a video."""
        await self.alarms.over(DELIVERY_ALARM)

    async def _await_chat(self, job: Job, now: int, sending_at: int | None) -> Job | None:
        """We were blocked or removed: the video is kept, and nothing is sent until the chat speaks to us again."""
        gives_up_at = job.since + CHAT_MAY_RETURN_MS
        if now >= gives_up_at:
            return await self.jobs.advance(job, State.FAILED, reason="undeliverable")
        await self.jobs.release(job, due_at=gives_up_at, sending_at=sending_at, reason=CHAT_GONE)
        return None


def why_not_rendered(video: Video) -> str:
    """The reason of a job whose render failed, from AKOOL's words for it."""
    said = (video.failure_reason or "").lower()
    return next(
        (reason for reason, words in _RENDER_FAILURES.items() if any(word in said for word in words)), "render_failed"
    )
