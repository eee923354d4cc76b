"""One person, one photo, one voice note, and whatever befalls the service meanwhile; then what became of it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from bot import texts
from bot.sandbox.chats import Chat, Message
from media_samples import sound
from stage import Stage, small_portrait
from storage.database import Database
from storage.job import COLUMNS, SUBMIT_UNKNOWN, TERMINAL, Job, State
from storage.schema import jobs, updates
from victims import PATIENCE_SECONDS, Victim

_LOOK_EVERY_SECONDS = 0.04


@dataclass(eq=False)
class Case:
    here: Stage
    chat: Chat
    risks: bool
    """What the person answers who is asked: "Try again (may cost twice)", or "Leave it"."""
    risked: int = 0
    answered: set[int] = field(default_factory=set)
    excused: set[int] = field(default_factory=set)
    """Messages that Telegram had, and the service had not noted, when it was struck: there may be one of each too many.
    """

    pings_excused: int = 0
    """How often the video may be sent anew, since there was no status message that it could take the place of."""

    # --- what happens ---

    async def play(self, disturbance: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Send the two halves, each when the last thing is seen to be done; after a disturbance all at once."""

        async def sees(look: Callable[[], object]) -> None:
            try:
                await self.here.sees(look, unless=disturbance)
            except TimeoutError:
                raise TimeoutError(f"it was never seen; the chat reads:\n{self.chat}") from None

        await self.chat.send_photo(small_portrait())
        await sees(lambda: self._has_text(texts.STATUS_ONLY_PHOTO))
        await self.chat.send_voice(sound(seconds=1))
        # Which of these is seen varies, since a chat's status is edited once in ten seconds.
        await sees(lambda: self._has_text("Got both") or self._has_text(texts.STATUS_RENDERING))
        await sees(self._is_served)

    def excuse_now(self, noted: Sequence[Job]) -> None:
        """To be called when all that the victim had sent is in the chat; `noted` is what it left in the database."""
        known = {job.video_message_id for job in noted} | {job.status_message_id for job in noted}
        self.pings_excused += any(job.status_message_id is None for job in noted)
        self.excused |= {message.id for message in (*self.videos, *self.texts)} - known

    async def answer(self, job: Job) -> None:
        """Press a button under the question what to do, once it is there."""
        action = f"{'risk' if self.risks else 'leave'}:{job.id}"
        for message in self.texts:
            if action in message.buttons.values() and message.id not in self.answered:
                self.answered.add(message.id)
                self.risked += self.risks
                await self.chat.press(message, action)

    # --- what became of it ---

    async def complaints(self, *, more_videos: int = 0) -> list[str]:
        """What is wrong now that all is over. `more_videos`: how many there may be beside the excused ones."""
        found = await self.here.jobs_of(self.chat)
        if len(found) != 1:
            return [f"{len(found)} jobs for one pair"]
        [job] = found
        wrong = []
        was_left = (job.state, job.reason) == (State.FAILED, SUBMIT_UNKNOWN) and self.answered and not self.risks
        if job.state is not State.DELIVERED and not was_left:
            wrong.append(f"it ended as {job.state} ({job.reason})")
        wanted = int(job.state is State.DELIVERED)
        if not wanted <= len(self.videos) <= wanted + more_videos + self._excused(self.videos):
            wrong.append(f"{len(self.videos)} videos")
        if self.pings > 1 + more_videos + self.pings_excused:
            wrong.append(f"the video was sent {self.pings} times")
        if len(self.texts) > (job.state is State.FAILED) + self._excused(self.texts):
            wrong.append("texts are left")
        return [f"{sentence}; the chat reads:\n{self.chat}" for sentence in wrong]

    @property
    def videos(self) -> list[Message]:
        return [message for message in self.chat.messages if message.video]

    @property
    def texts(self) -> list[Message]:
        return [message for message in self.chat.messages if message.is_from_bot and not message.video]

    @property
    def pings(self) -> int:
        """How often the video has come as a new message."""
        return sum(1 for call in self.chat.history if call.name == "sendVideo")

    def _excused(self, messages: Sequence[Message]) -> int:
        return sum(1 for message in messages if message.id in self.excused)

    def _is_served(self) -> bool:
        self.here.let_renders_end()
        return bool(self.videos and not self.texts)

    def _has_text(self, words: str) -> bool:
        return any(words in message.text for message in self.texts)


async def settle(
    here: Stage, cases: Sequence[Case], victims: Sequence[Victim], *, patience_seconds: float = PATIENCE_SECONDS
) -> None:
    """Wait until nothing is left to be done; answer what people are asked.

    Where all wait for a callback that can't come, since AKOOL never heard of the job, time is let pass.
    """
    case_of = {case.chat.id: case for case in cases}
    try:
        async with asyncio.timeout(patience_seconds), here.reading() as database:
            while not await _is_over(here, database, case_of, victims):
                await asyncio.sleep(_LOOK_EVERY_SECONDS)
    except TimeoutError:
        found = [(await here.jobs_of(case.chat), str(case.chat)) for case in cases]
        dead = [victim.pid for victim in victims if victim.is_dead]
        raise TimeoutError(f"it does not end: {found}\ndead: {dead}\n{here.last_words}") from None


async def _is_over(here: Stage, database: Database, case_of: dict[int, Case], victims: Sequence[Victim]) -> bool:
    here.let_renders_end()
    async with database.begin() as connection:
        rows = await connection.execute(select(*COLUMNS).where(jobs.c.chat_id.in_(case_of)))
        found = [Job.of(row) for row in rows]
        left = await connection.scalar(select(func.count()).where(updates.c.due_at.isnot(None)))
    unfinished = [job for job in found if job.state not in TERMINAL or job.status_at is not None]
    for job in unfinished:
        if job.state is State.SUBMITTING and job.reason == SUBMIT_UNKNOWN:
            await case_of[job.chat_id].answer(job)
    if left or here.telegram.updates.pending or {job.chat_id for job in found} != set(case_of):
        return False
    if unfinished and not [job for job in unfinished if not await _waits_in_vain(here, database, job)]:
        await here.turn(*victims, seconds=30)
    return not unfinished


async def _waits_in_vain(here: Stage, database: Database, job: Job) -> bool:
    is_waiting = job.state is State.SUBMITTING and job.claim is None and job.reason is None
    return is_waiting and not await here.is_at_akool(job, database)
