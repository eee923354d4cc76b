"""One person, one photo, one voice note, and whatever befalls the service meanwhile; then what became of it."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from bot import texts
from bot.sandbox.chats import Chat, Message
from media_samples import sound
from stage import Stage, small_portrait
from storage.database import Database
from storage.jobs import TERMINAL, Job, Jobs, State
from storage.ledger import SUBMIT_UNKNOWN
from storage.schema import updates
from victims import PATIENCE_SECONDS, Victim

_LOOK_EVERY_SECONDS = 0.03


@dataclass
class Excuse:
    """What a strike may leave behind: what Telegram had done, and the service had not noted, when it fell."""

    videos: int = 0
    texts: int = 0


@dataclass
class Case:
    here: Stage
    chat: Chat
    risks: bool
    """What the person answers who is asked: "Try again (may cost twice)", or "Leave it"."""
    pressed: Counter[int] = field(default_factory=Counter)
    excuse: Excuse = field(default_factory=Excuse)
    _answered: set[int] = field(default_factory=set)

    # --- what happens ---

    async def play(self, victim: Victim) -> None:
        """Send the two halves, each when the last thing is seen to be done; all at once when the victim is dead."""
        await self.chat.send_photo(small_portrait())
        await self.here.sees(victim, self.chat, lambda: self._has_text(texts.STATUS_ONLY_PHOTO))
        await self.chat.send_voice(sound(seconds=1))
        await self.here.sees(victim, self.chat, lambda: self._has_text(texts.STATUS_RENDERING.partition("{")[0]))
        self._let_renders_end()
        await self.here.sees(victim, self.chat, lambda: self.videos and not self.texts)

    async def settle(self, victim: Victim) -> None:
        """Wait until nothing is left to be done, and answer what is asked."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS), self.here.reading() as database:
                while not await self._is_over(database, victim):
                    await asyncio.sleep(_LOOK_EVERY_SECONDS)
        except TimeoutError:
            raise TimeoutError(f"it does not end: {await self.here.jobs_of(self.chat)}\n{self.chat}") from None

    def excuse_now(self, noted: list[Job]) -> None:
        """Called when all that the dead victim had sent is in the chat; `noted` is what it had left in the database."""
        known = {job.status_message_id for job in noted}
        if not any(job.state is State.DELIVERED for job in noted):
            self.excuse.videos += len(self.videos)
        self.excuse.texts += sum(1 for message in self.texts if message.id not in known)

    # --- what became of it ---

    async def complaints(self) -> list[str]:
        found = await self.here.jobs_of(self.chat)
        if len(found) != 1:
            return [f"{len(found)} jobs for one pair"]
        [job] = found
        wrong = []
        left = (job.state, job.reason) == (State.FAILED, SUBMIT_UNKNOWN) and self._answered and not self.risks
        if job.state is not State.DELIVERED and not left:
            wrong.append(f"it ended as {job.state} ({job.reason})")
        delivered = int(job.state is State.DELIVERED)
        if not delivered <= len(self.videos) <= delivered + self.excuse.videos:
            wrong.append(f"{len(self.videos)} videos")
        if len(self.texts) > self.excuse.texts + (job.state is State.FAILED):
            wrong.append("texts are left")
        return [f"{sentence}; the chat reads:\n{self.chat}" for sentence in wrong]

    @property
    def videos(self) -> list[Message]:
        return [message for message in self.chat.messages if message.video]

    @property
    def texts(self) -> list[Message]:
        return [message for message in self.chat.messages if message.is_from_bot and not message.video]

    # ---

    def _has_text(self, words: str) -> bool:
        return any(words in message.text for message in self.texts)

    def _let_renders_end(self) -> None:
        for video in self.here.akool.videos:
            video.go.set()

    async def _is_over(self, database: Database, victim: Victim) -> bool:
        self._let_renders_end()
        found = await Jobs(database).list(chat_id=self.chat.id)
        for job in found:
            if job.state is State.SUBMITTING:
                await self._help(job, database, victim)
        async with database.begin() as connection:
            left = await connection.scalar(select(func.count()).where(updates.c.due_at.isnot(None)))
        return (
            bool(found)
            and all(job.state in TERMINAL and job.status_at is None for job in found)
            and not left
            and not self.here.telegram.updates.pending
        )

    async def _help(self, job: Job, database: Database, victim: Victim) -> None:
        """Answer what the person is asked; where nothing can come of waiting, let the waiting be short."""
        if job.reason == SUBMIT_UNKNOWN:
            action = f"{'risk' if self.risks else 'leave'}:{job.id}"
            for message in self.texts:
                if action in message.buttons.values() and message.id not in self._answered:
                    self._answered.add(message.id)
                    self.pressed[self.chat.id] += self.risks
                    await self.chat.press(message, action)
        elif job.claim is None and not await self.here.is_at_akool(job, database):
            await self.here.turn(victim, seconds=30)
