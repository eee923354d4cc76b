"""What is to be expected of a job, beyond what its row tells: its place, what halts it, how long it will take."""

from bot.clock import Clock
from bot.estimates import Estimate, estimate
from bot.patience import MINUTE_MS
from bot.texts import Halt, Outlook
from storage.breaker import Breaker
from storage.drafts import incoming
from storage.job import Job, State
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.repeats import Repeats


class Outlooks:
    def __init__(
        self,
        clock: Clock,
        *,
        jobs: Jobs,
        repeats: Repeats,
        ledger: Ledger,
        breaker: Breaker,
        spend_limit: int | None,
    ) -> None:
        self._clock = clock
        self._jobs = jobs
        self._repeats = repeats
        self._ledger = ledger
        self._breaker = breaker
        self._spend_limit = spend_limit
        self._renders: list[tuple[int, int]] = []
        self._renders_at: int | None = None

    async def of(self, job: Job) -> Outlook:
        now = self._clock.now()
        match job.state:
            case State.COLLECTING if job.voice_key and not job.has_photo and not incoming(job):
                last = await self._repeats.last_photo(chat_id=job.chat_id, user_id=job.user_id)
                return Outlook(now, last_photo=last)
            case State.QUEUED:
                return Outlook(now, place=await self._jobs.place_in_queue(job), halt=await self._halt())
            case State.RENDERING:
                return Outlook(now, estimate=await self._estimate(job))
            case _:
                return Outlook(now)

    async def _halt(self) -> Halt | None:
        if await self._breaker.is_paused():
            return Halt.OPERATOR
        if await self._breaker.pause() is not None:
            return Halt.ACCOUNT
        if self._spend_limit is not None and await self._ledger.spent_today() >= self._spend_limit:
            return Halt.SPENT
        return None

    async def _estimate(self, job: Job) -> Estimate | None:
        """From the latest renders, which are asked for once a minute."""
        now = self._clock.now()
        if self._renders_at is None or now - self._renders_at > MINUTE_MS:
            self._renders = list(await self._jobs.render_times())
            self._renders_at = now
        return estimate(self._renders, voice_ms=job.voice_ms or 0)
