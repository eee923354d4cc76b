"""The operator's commands, for `ADMIN_USERS`: how the bot is doing, who is let in, and what is to go on."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import structlog
from telegram import Bot, Message

import akool
from bot import texts
from bot.answers import answer
from bot.callers import Caller
from bot.clock import Clock
from bot.config import Settings
from bot.texts import Say
from storage.breaker import Breaker
from storage.job import Job
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.peers import Access, Peers
from storage.repeats import Repeats
from storage.reports import Reports

log = structlog.get_logger()

_ID = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"[0-9]{1,6}")

Command = Callable[[Caller, list[str]], Awaitable[Say]]


@dataclass(frozen=True)
class Admins:
    bot: Bot
    settings: Settings
    clock: Clock
    client: akool.Client
    peers: Peers
    jobs: Jobs
    repeats: Repeats
    ledger: Ledger
    breaker: Breaker
    reports: Reports
    ring: Callable[[], None]

    @property
    def commands(self) -> Mapping[str, Command]:
        return {
            "admin": self.overview,
            "allow": self.allow,
            "deny": self.deny,
            "allowed": self.allowed,
            "limit": self.limit,
            "pause": self.pause,
            "resume": self.resume,
            "job": self.job,
            "retry": self.retry,
        }

    async def obey(self, name: str, caller: Caller, message: Message) -> None:
        words = (message.text or message.caption or "").split()[1:]
        await answer(self.bot, message, await self.commands[name](caller, words))

    async def overview(self, caller: Caller, _arguments: list[str]) -> Say:
        try:
            credit = await self.client.get_credit()
        except akool.AkoolError as error:
            log.warning("AKOOL does not tell the credit", error=type(error).__name__)
            credit = None
        return texts.overview(
            caller.words,
            await self.reports.today(),
            credit=credit,
            pause=await self.breaker.pause(),
            is_paused=await self.breaker.is_paused(),
            now=self.clock.now(),
        )

    async def allow(self, caller: Caller, arguments: list[str]) -> Say:
        return await self._set_access(caller, arguments, Access.ALLOWED)

    async def deny(self, caller: Caller, arguments: list[str]) -> Say:
        return await self._set_access(caller, arguments, Access.DENIED)

    async def _set_access(self, caller: Caller, arguments: list[str], access: Access) -> Say:
        peer_id = _id(arguments)
        is_allowed = access is Access.ALLOWED
        if peer_id is None:
            return _needs_id(caller, "/allow 123456789" if is_allowed else "/deny 123456789")
        if not is_allowed and peer_id in self.settings.admin_users:
            return Say(caller.words(texts.CANT_DENY_ADMIN, id=str(peer_id)))
        await self.peers.choose(peer_id, access=access)
        log.info("access was changed", peer=peer_id, access=access, by=caller.id)
        return Say(caller.words(texts.NOW_ALLOWED if is_allowed else texts.NOW_DENIED, id=str(peer_id)))

    async def allowed(self, caller: Caller, _arguments: list[str]) -> Say:
        users = self.settings.allowed_users | self.settings.admin_users
        return texts.allowed(
            caller.words,
            await self.peers.listed(),
            users=[str(user) for user in users],
            chats=[str(chat) for chat in self.settings.allowed_chats],
        )

    async def limit(self, caller: Caller, arguments: list[str]) -> Say:
        """`/limit ID N`: so many videos a day for a person or a chat; 0: no limit."""
        peer_id = _id(arguments)
        if peer_id is None or len(arguments) < 2 or not _NUMBER.fullmatch(arguments[1]):  # noqa: PLR2004 - ID and N
            return Say(caller.words(texts.NEEDS_LIMIT, example="/limit 123456789 20"))
        videos = int(arguments[1])
        await self.peers.choose(peer_id, daily_limit=videos)
        log.info("a daily limit was changed", peer=peer_id, videos=videos, by=caller.id)
        if not videos:
            return Say(caller.words(texts.LIMIT_GONE, id=str(peer_id)))
        return Say(caller.words(texts.LIMIT_SET, id=str(peer_id), limit=videos))

    async def pause(self, caller: Caller, _arguments: list[str]) -> Say:
        await self.breaker.pause_all()
        log.info("submitting was paused", by=caller.id)
        return Say(caller.words(texts.PAUSED))

    async def resume(self, caller: Caller, _arguments: list[str]) -> Say:
        await self.breaker.resume_all()
        log.info("submitting was resumed", by=caller.id)
        self.ring()
        return Say(caller.words(texts.RESUMED))

    async def job(self, caller: Caller, arguments: list[str]) -> Say:
        found = await self._find(caller, arguments, example="/job 12")
        if isinstance(found, Say):
            return found
        return texts.story(caller.words, found, await self.ledger.of_job(found.id))

    async def retry(self, caller: Caller, arguments: list[str]) -> Say:
        """Try a failed job again, for its owner."""
        found = await self._find(caller, arguments, example="/retry 12")
        if isinstance(found, Say):
            return found
        if not await self.repeats.again(found.id, user_id=found.user_id):
            return Say(caller.words(texts.CANT_RETRY, id=str(found.id)))
        log.info("a job is tried again", job=found.id, by=caller.id)
        self.ring()
        return Say(caller.words(texts.RETRIED, id=str(found.id)))

    async def _find(self, caller: Caller, arguments: list[str], *, example: str) -> Job | Say:
        """The job that a command names, or what is to be said instead."""
        job_id = _id(arguments)
        if job_id is None:
            return _needs_id(caller, example)
        return await self.jobs.get(job_id) or Say(caller.words(texts.NO_SUCH_JOB, id=str(job_id)))


def _id(arguments: list[str]) -> int | None:
    return int(arguments[0]) if arguments and _ID.fullmatch(arguments[0]) else None


def _needs_id(caller: Caller, example: str) -> Say:
    return Say(caller.words(texts.NEEDS_ID, example=example))
