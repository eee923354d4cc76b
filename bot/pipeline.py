"""The product, as a story: how a photo and a voice note become a video in the chat.

    collect    fetch, check and store each half as it arrives; with both there, into the queue
    submit     the call stands in the ledger: ask AKOOL for the video, once
    look       ask AKOOL how the render stands; its webhook only makes us ask sooner
    save       fetch the result, whole, into our own store
    deliver    send it as a reply to the voice note

Each step takes a job that is claimed, leaves its outcome in the job's row, and returns the job if it goes on at
once, else None. A step that was interrupted, anywhere, is simply run again. Only `submit` never is: a call whose
outcome is unknown waits for its callback, and then for its owner's word.
"""

import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

import akool
from bot import metrics, texts
from bot.clock import Clock
from bot.config import Settings
from bot.delivery import Delivery
from bot.halves import Halves, Prepared
from bot.insist import insist
from bot.media import BrokenVideo, Refusal, Studio
from bot.outcomes import DeliveryFailed
from bot.patience import DAY_MS, LEASE_MS, SECOND_MS, question_delay_ms
from bot.results import Results, ResultUnavailable
from bot.setbacks import Setbacks, why_not_rendered
from bot.texts import words_for
from storage.drafts import Drafts, Half, Kind, incoming
from storage.engine import DATABASE_ERRORS
from storage.job import SUBMIT_UNKNOWN, Job, State
from storage.jobs import Jobs, Overtaken, look_again
from storage.ledger import Ledger
from storage.objects import ObjectStore, StoreError, new_key

log = structlog.get_logger()


_DRAFT_LIFE_MS = 7 * DAY_MS
_EMPTY_DRAFT_LIFE_MS = DAY_MS
_OWNER_ANSWERS_WITHIN_MS = 7 * DAY_MS
_MEDIA_URL_TTL_SECONDS = 24 * 3600
_UNHEARD_OF_MS = DAY_MS


@dataclass(frozen=True)
class Pipeline:
    settings: Settings
    clock: Clock
    jobs: Jobs
    drafts: Drafts
    ledger: Ledger
    store: ObjectStore
    client: akool.Client
    halves: Halves
    results: Results
    studio: Studio
    delivery: Delivery
    setbacks: Setbacks
    scratch: Path
    ring: Callable[[], None]

    async def step(self, job: Job) -> Job | None:
        """Do what the job's state asks for."""
        match job.state:
            case State.COLLECTING:
                return await self.collect(job)
            case State.SUBMITTING:
                await self.await_answer(job)
                return None
            case State.RENDERING:
                return await self.look(job)
            case State.SAVING:
                return await self.save(job)
            case State.DELIVERING:
                return await self.deliver(job)
            case _:
                return None

    # --- collect ---

    async def collect(self, job: Job) -> Job | None:
        halves = incoming(job)
        if halves:
            return await self._take_in(job, halves)
        if job.has_photo and job.voice_key:
            job = await self.drafts.enqueue(job, limits=self.settings.limits)
            self.ring()
            return job if job.state is State.COLLECTING else None
        is_empty = not (job.photo_key or job.voice_key)
        expires_at = job.created_at + (_EMPTY_DRAFT_LIFE_MS if is_empty else _DRAFT_LIFE_MS)
        if self.clock.now() >= expires_at:
            await self.jobs.advance(job, State.CANCELLED, reason="expired")
        else:
            await self.jobs.release(job, due_at=expires_at)
        return None

    async def _take_in(self, job: Job, halves: list[Half]) -> Job | None:
        outcomes = await self.halves.prepare_all(halves, is_unfetchable=partial(self.setbacks.is_unfetchable, job))
        keys = {outcome.key for outcome in outcomes if isinstance(outcome, Prepared)}
        try:
            for half, outcome in zip(halves, outcomes, strict=True):
                if not isinstance(outcome, Exception):
                    job = await self._settle(job, half, outcome)
        except Overtaken:
            await self._delete(keys - {job.photo_key, job.voice_key})
            raise
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return job

    async def _settle(self, job: Job, half: Half, outcome: Prepared | Refusal) -> Job:
        if isinstance(outcome, Prepared):
            replaces = job.photo_key if outcome.kind is Kind.PHOTO else job.voice_key
            log.info("a half is ready", kind=outcome.kind.value)
            told_anew = {"status_shown": None} if replaces else {}
            return await self.drafts.settle(job, half, **outcome.columns, **told_anew)
        log.info("a half was refused", kind=half.kind.value, refusal=outcome.value)
        if not job.photo_key and not job.voice_key and len(incoming(job)) == 1:
            message_id = {f"{half.kind}_message_id": half.message_id}  # what the clear word will reply to
            failed = await self.drafts.refuse_all(job, reason=outcome, **message_id)
            if failed is not None:
                return failed
        await self._say_refusal(job, half, outcome)
        return await self.drafts.settle(job, half)

    async def _say_refusal(self, job: Job, half: Half, refusal: Refusal) -> None:
        words = words_for(job.language)
        say = texts.refusal(
            words,
            job,
            refusal,
            max_voice_seconds=self.settings.max_voice_seconds,
            max_file_bytes=self.settings.sizes.down,
        )
        try:
            await self.delivery.say(job, say, reply_to=half.message_id)
        except DeliveryFailed as failed:
            if failed.moved_to is not None:
                await self.jobs.move_chat(job.chat_id, failed.moved_to)
            if not failed.is_final:
                raise

    # --- submit ---

    async def submit(self, job: Job, token: str) -> None:
        """Make the create call that the ledger's `token` stands for. Only for who got it from `Ledger.admit`."""
        try:
            video = await self._create(job, token)
        except akool.AkoolError as error:
            metrics.create_failed(error)
            refused = error
            expected_until = self._answer_expected_until(job)
            await insist(
                self.clock, lambda: self.setbacks.not_accepted(job, refused, answer_expected_until=expected_until)
            )
        else:
            metrics.CREATE_CALLS.labels("accepted").inc()
            log.info("AKOOL has the job", akool_id=video.id)
            ask_at = self.clock.now() + self._next_question_ms(0)
            await insist(self.clock, lambda: self.ledger.arrived(token, video.id, ask_at=ask_at))
            await self.setbacks.are_over()

    async def _create(self, job: Job, token: str) -> akool.Video:
        """The call itself. Raises `AkoolError`, or `Overtaken` before anything is sent."""
        try:
            await self._hold(job)  # who was away for longer than a lease must not pay any more
            photo_url, voice_url = self._url(job.photo_key), self._url(job.voice_key)
        except (*DATABASE_ERRORS, StoreError) as error:
            raise akool.NotSent(type(error).__name__) from error
        log.info("AKOOL is asked for the video")
        return await self.client.create_talking_photo(
            talking_photo_url=photo_url,
            audio_url=voice_url,
            webhook_url=f"{self.settings.public_url}/akool/{token}" if self.settings.public_url else None,
            prompt=self.settings.akool_prompt,
            resolution=self.settings.akool_resolution,
        )

    async def await_answer(self, job: Job) -> None:
        """A call was begun, perhaps made, and nobody knows more: the callback may still tell, then the owner."""
        now = self.clock.now()
        expected_until = self._answer_expected_until(job)
        if now < expected_until:
            await self.jobs.release(job, due_at=expected_until)
        elif now < expected_until + _OWNER_ANSWERS_WITHIN_MS:
            gives_up_at = expected_until + _OWNER_ANSWERS_WITHIN_MS
            await self.jobs.release(job, due_at=gives_up_at, reason=SUBMIT_UNKNOWN, paid=1, **look_again(now))
        else:
            await self.ledger.close(job, outcome="unknown", state=State.FAILED, reason=SUBMIT_UNKNOWN, paid=1)

    def _answer_expected_until(self, job: Job) -> int:
        submitted_at = job.submitted_at or job.updated_at
        return submitted_at + (self._render_timeout_ms if self.settings.opens_callbacks else 0)

    # --- look ---

    async def look(self, job: Job) -> Job | None:
        now = self.clock.now()
        overdue_ms = now - job.since - self._render_timeout_ms
        gives_up = overdue_ms > 0
        try:
            video = await self.client.get_video(job.akool_id or "")
            metrics.QUESTIONS.labels(video.status.name.lower()).inc()
        except akool.AkoolError as error:
            level = logging.ERROR if error.fault is akool.Fault.OPERATOR else logging.WARNING
            log.log(level, "AKOOL can't say how the render stands", error=type(error).__name__, code=error.code)
            metrics.QUESTIONS.labels(error.kind).inc()
            video = None
            # It may be finished and paid for: not knowing is no reason to give it up, for a while.
            gives_up = overdue_ms > (0 if isinstance(error, akool.NotFound) else _UNHEARD_OF_MS)
        if video is not None and video.done:
            return await self._leave_akool(job, State.SAVING, result_url=video.url, rendered_at=now)
        if video is not None and video.status is akool.VideoStatus.FAILED:
            log.warning("AKOOL could not make a video", why=video.failure_reason)
            charged = bool(video.deduction_credit)
            return await self._leave_akool(job, State.FAILED, reason=why_not_rendered(video), charged=charged)
        if gives_up:
            return await self._leave_akool(job, State.FAILED, reason="render_timeout")
        asked = job.attempts + 1
        log.debug("the render goes on", asked=asked)
        await self.jobs.release(job, due_at=now + self._next_question_ms(asked), attempts=asked)
        return None

    async def _leave_akool(self, job: Job, state: State, **columns: Any) -> Job:
        job = await self.ledger.close(job, outcome="accepted", state=state, **columns)
        self.ring()  # a place is free
        return job

    def _next_question_ms(self, asked: int) -> int:
        patience = 3 if self.settings.public_url else 1  # a callback is expected to come first
        return question_delay_ms(asked, first_ms=self.settings.akool_poll_seconds * SECOND_MS * patience)

    # --- save ---

    async def save(self, job: Job) -> Job | None:
        with TemporaryDirectory(dir=self.scratch) as folder:
            video = Path(folder, "result.mp4")
            try:
                await self.results.fetch(await self._result_url(job), video)
                await self.studio.clip(video)
            except (ResultUnavailable, BrokenVideo) as trouble:
                return await self.setbacks.not_saved(job, trouble)
            key = new_key("out", "mp4")
            await self.store.put(key, video)
        try:
            return await self.jobs.advance(job, State.DELIVERING, video_key=key)
        except Overtaken:
            await self._delete([key])
            raise

    async def _result_url(self, job: Job) -> str:
        """Where the result is; asked for anew where it was not to be had there."""
        if job.attempts:
            with suppress(akool.AkoolError):
                video = await self.client.get_video(job.akool_id or "")
                return video.url or job.result_url or ""
        return job.result_url or ""

    # --- deliver ---

    async def deliver(self, job: Job) -> Job | None:
        """Send the video. Where an earlier try may have got through, edit the status message into it instead."""
        may_be_there = job.sending_at is not None
        try:
            # A text can be edited into a video, but not into a round one.
            async with self.delivery.parcel(job, is_round=bool(job.is_round) and not may_be_there) as parcel:
                if may_be_there:
                    delivered = await self.delivery.turn_status_into_video(job, parcel)
                else:
                    job = await self._hold(job, sending_at=self.clock.now())
                    delivered = await self.delivery.send_video(job, parcel)
        except DeliveryFailed as failed:
            metrics.DELIVERIES.labels(failed.outcome).inc()
            return await self.setbacks.not_delivered(job, failed, may_be_there=may_be_there)
        log.info("the chat has the video", message=delivered.message_id)
        sent = job
        where = {
            "video_message_id": delivered.message_id,
            "video_file_id": delivered.file_id,
            "is_round": int(delivered.is_round),
            "reason": None,
        }
        job = await insist(self.clock, lambda: self.jobs.advance(sent, State.DELIVERED, **where))
        metrics.DELIVERIES.labels("delivered").inc()
        await self.setbacks.delivery_works()
        return job

    # ---

    @property
    def _render_timeout_ms(self) -> int:
        return int(self.settings.akool_render_timeout_seconds * SECOND_MS)

    async def _hold(self, job: Job, **columns: int) -> Job:
        """Make sure that the job is ours, with a whole lease before us, right before what can't be taken back.

        Raises `Overtaken`. A lease that was over, though nobody had noticed, could else be taken over in the midst.
        """
        return await self.jobs.save(job, due_at=self.clock.now() + LEASE_MS, **columns)

    async def _delete(self, keys: Collection[str]) -> None:
        """Objects whose job turned out to be somebody else's by now, or forgotten."""
        with suppress(StoreError):  # the sweeper finds them too
            for key in keys:
                await self.store.delete(key)

    def _url(self, key: str | None) -> str:
        """Signed late, just before AKOOL gets it; the row keeps the key and never a URL."""
        return self.store.url(key or "", ttl_seconds=_MEDIA_URL_TTL_SECONDS)
