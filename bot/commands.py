"""The commands that people give: what the bot is, what it is doing for them, and what it keeps of theirs."""

from collections.abc import Callable
from dataclasses import dataclass

from telegram import Bot, Message

from bot import texts
from bot.answers import answer
from bot.callers import Caller
from bot.clock import Clock
from bot.config import Settings
from bot.outlooks import Outlooks
from bot.texts import Button, Say
from storage.job import FREE, OPEN, Job, State
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.peers import Peers
from storage.quotas import Quotas

_MOST_VIDEOS = 10
_MOST_LOOKED_AT = 50  # some have no file id, as those that came as a link
_MOST_SHOWN = 20  # a message has room for 4096 characters


@dataclass(frozen=True)
class Commands:
    bot: Bot
    settings: Settings
    clock: Clock
    peers: Peers
    jobs: Jobs
    ledger: Ledger
    quotas: Quotas
    outlooks: Outlooks
    ring: Callable[[], None]

    async def start(self, caller: Caller, message: Message, _update_id: int) -> None:
        await answer(self.bot, message, Say(caller.words(texts.WELCOME_GROUP if caller.in_group else texts.WELCOME)))

    async def help(self, caller: Caller, message: Message, _update_id: int) -> None:
        say = texts.help_(caller.words, max_voice_seconds=self.settings.max_voice_seconds)
        await answer(self.bot, message, say)

    async def status(self, caller: Caller, message: Message, _update_id: int) -> None:
        """Say where each open job of the caller's stands, and how many videos are left today."""
        says = [text for _, text in await self._where_they_stand(caller)]
        left = await self.quotas.left(chat_id=caller.chat.id, user_id=caller.id, limits=self.settings.limits)
        lines = says or [caller.words(texts.NOTHING_OPEN)]
        await answer(self.bot, message, Say("\n".join([*lines, *texts.left_today(caller.words, left)])))

    async def cancel(self, caller: Caller, message: Message, _update_id: int) -> None:
        """Cancel the caller's only open job, where it costs nothing; else ask first: which, or whether really."""
        words, standing = caller.words, await self._where_they_stand(caller)
        if len(standing) > 1:
            buttons = tuple(Button(text.partition("\n")[0], f"stop:{job.id}") for job, text in standing)
            say = Say(words(texts.CANCEL_WHICH), buttons)
        elif not standing:
            say = Say(words(texts.NOTHING_OPEN))
        elif cancelled := await self.ledger.cancel(standing[0][0].id, states=FREE):
            say = Say(words(texts.cancelled(cancelled)))
        else:
            say = texts.already_paid(words, standing[0][0])
        self.ring()
        await answer(self.bot, message, say)

    async def history(self, caller: Caller, message: Message, _update_id: int) -> None:
        """Offer the caller's last videos; in a group those that were made there."""
        delivered = await self.jobs.list(
            states=[State.DELIVERED],
            user_id=caller.id,
            chat_id=caller.chat.id if caller.in_group else None,
            limit=_MOST_LOOKED_AT,
        )
        videos = [job for job in delivered if job.video_file_id][:_MOST_VIDEOS]
        await answer(self.bot, message, texts.history(caller.words, videos, now=self.clock.now()))

    async def settings_of(self, caller: Caller, message: Message, _update_id: int) -> None:
        await answer(self.bot, message, await self.settings_menu(caller, caller.id))

    async def settings_menu(self, caller: Caller, owner_id: int) -> Say:
        """Somebody's settings, and in a group the group's."""
        peer, chat = await self.peers.get(owner_id, caller.chat.id)
        keeps_chatter = chat.keeps_chatter if caller.in_group else None
        return texts.settings(caller.words, owner_id, is_round=peer.is_round, keeps_chatter=keeps_chatter)

    async def forget(self, caller: Caller, message: Message, _update_id: int) -> None:
        """Ask once whether everything of the caller's shall be deleted."""
        await answer(self.bot, message, texts.forget(caller.words, caller.id))

    async def _where_they_stand(self, caller: Caller) -> list[tuple[Job, str]]:
        """The caller's open jobs, oldest first, numbered where there are several; in a group those of the group."""
        chat_id = caller.chat.id if caller.in_group else None
        newest = await self.jobs.list(states=OPEN, chat_id=chat_id, user_id=caller.id, limit=_MOST_SHOWN)
        jobs = list(reversed(newest))
        says = [texts.status(caller.words, job, await self.outlooks.of(job)).text for job in jobs]
        if len(jobs) > 1:
            says = [f"{caller.words.number(n)}. {text}" for n, text in enumerate(says, 1)]
        return list(zip(jobs, says, strict=True))
