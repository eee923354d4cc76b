"""The buttons under the bot's messages: each says what it does, and to which job or for which person (`what:id`).

A press is done once and always answered: the second one, a belated one and somebody else's get a toast and do no harm.
"""

import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

import structlog
from telegram import Bot, CallbackQuery, Message
from telegram.error import BadRequest

from bot import texts
from bot.answers import replace, strip_buttons, take_away, thread_of, toast
from bot.callers import Caller
from bot.commands import Commands
from bot.farewell import Farewell
from bot.groups import Groups
from bot.texts import LANGUAGES, Say, closest_language, words_for
from storage.drafts import Drafts, Kind
from storage.job import FREE, OPEN, Job
from storage.jobs import Jobs
from storage.ledger import Ledger
from storage.peers import Peers
from storage.repeats import Repeats

log = structlog.get_logger()

_DATA = re.compile(r"(?P<what>[a-zA-Z_-]{1,24}):(?P<number>-?[0-9]{1,18})", re.ASCII)
_OF_JOB = frozenset(
    {
        *("anyway", "last", "another", "risk", "leave", "again", "photo", "voice"),
        *("stop", "cancel", "keep", "send"),
    }
)
_OF_PERSON = frozenset({"forget", "forget-not", "languages", "round", "square", "tidy", "untidy"})
_OVER_BY_PRESS = frozenset({"again", "photo", "voice", "cancel", "keep"})  # what they stand under is mere chatter then
_PRESSED_OFTEN = frozenset({"send", "stop"})
_LANGUAGE = "language-"


@dataclass(frozen=True)
class Buttons:
    bot: Bot
    jobs: Jobs
    drafts: Drafts
    repeats: Repeats
    ledger: Ledger
    peers: Peers
    groups: Groups
    commands: Commands
    farewell: Farewell
    ring: Callable[[], None]

    async def press(self, caller: Caller, query: CallbackQuery) -> None:
        """Do what the button says, if it is its owner's."""
        match = _DATA.fullmatch(query.data or "")
        what, number = (match["what"], int(match["number"])) if match else ("", 0)
        job = await self.jobs.get(number) if what in _OF_JOB else None
        is_of_person = what in _OF_PERSON or what.startswith(_LANGUAGE)
        if job is None and not is_of_person:
            said = texts.TOO_LATE
        elif not caller.is_allowed or not await self._owns(caller, number, job):
            said = texts.NOT_YOURS
        elif job is None:
            said = await self._of_person(what, caller, query, number)
        else:
            said = await self._of_job(what, caller, query, job)
            if caller.in_group and what in _OVER_BY_PRESS and said != texts.TOO_LATE:
                await take_away(query)
            elif what not in _PRESSED_OFTEN:
                await strip_buttons(query)
        self.ring()
        await toast(query, caller.words.plain(said))

    async def _owns(self, caller: Caller, number: int, job: Job | None) -> bool:
        """Whether it is theirs; a client may send data that stands under no message.

        Behind a shared identity are the admins of the chat that it speaks for, and a press shows who it really is.
        """
        owner_id = number if job is None else job.user_id
        if owner_id > 0:
            return owner_id == caller.id
        return await self.groups.is_run_by(owner_id if job is None else job.chat_id, caller.id)

    async def _of_job(self, what: str, caller: Caller, query: CallbackQuery, job: Job) -> str:
        match what:
            case "stop":
                return await self._stop(caller, query, job)
            case "send":
                return await self._send_again(query, job)
            case "another" | "keep" if job.state in OPEN:
                return texts.SEND_PHOTO if what == "another" else texts.WILL_COME
            case "cancel":
                cancelled = await self.ledger.cancel(job.id, states=OPEN)
                return texts.cancelled(cancelled) if cancelled else texts.TOO_LATE
        act, said = self._guarded.get(what, (None, texts.TOO_LATE))
        return said if act is not None and await act(job.id, user_id=job.user_id) else texts.TOO_LATE

    @property
    def _guarded(self) -> Mapping[str, tuple[Callable[..., Awaitable[bool]], str]]:
        """What is done if the job is still in the state for it, and what is said then."""
        return {
            "anyway": (self.drafts.accept_photo, texts.USED),
            "last": (self.repeats.use_last_photo, texts.USED),
            "risk": (self.ledger.risk_again, texts.WILL_TRY_AGAIN),
            "leave": (self.ledger.leave, texts.LEFT),
            "again": (self.repeats.again, texts.WILL_TRY_AGAIN),
            "photo": (partial(self.repeats.again_without, Kind.PHOTO), texts.SEND_PHOTO),
            "voice": (partial(self.repeats.again_without, Kind.VOICE), texts.SEND_VOICE),
        }

    async def _stop(self, caller: Caller, query: CallbackQuery, job: Job) -> str:
        """One of several jobs is to be cancelled: at once where it costs nothing, else only after a question."""
        if cancelled := await self.ledger.cancel(job.id, states=FREE):
            return texts.cancelled(cancelled)
        if job.state not in OPEN:
            return texts.TOO_LATE
        await replace(query, texts.already_paid(caller.words, job))
        return texts.ALREADY_PAID

    async def _send_again(self, query: CallbackQuery, job: Job) -> str:
        """Send a video once more, by the `file_id` that Telegram has it under: nothing is uploaded."""
        if query.message is None or job.video_file_id is None:
            return texts.VIDEO_GONE
        thread_id = thread_of(query.message) if isinstance(query.message, Message) else 0
        send = self.bot.send_video_note if job.is_round else self.bot.send_video
        try:
            await send(query.message.chat.id, job.video_file_id, message_thread_id=thread_id or None)
        except BadRequest as error:
            log.info("a video can't be sent again", job=job.id, error=error.message)
            return texts.VIDEO_GONE
        return texts.HERE_IT_IS

    async def _of_person(self, what: str, caller: Caller, query: CallbackQuery, owner_id: int) -> str:
        match what:
            case "forget":
                await self.farewell.forget(owner_id)
                await replace(query, Say(caller.words(texts.FORGOTTEN)))
                return texts.DONE
            case "forget-not":
                await replace(query, Say(caller.words(texts.NOT_FORGOTTEN)))
                return texts.NOT_FORGOTTEN
            case "languages":
                await replace(query, texts.languages(caller.words, owner_id))
                return texts.CHOOSE_LANGUAGE
            case _:
                return await self._choose(what, caller, query, owner_id)

    async def _choose(self, what: str, caller: Caller, query: CallbackQuery, owner_id: int) -> str:
        """Change a setting, and show them as they are now."""
        if what in {"round", "square"}:
            await self.peers.choose(owner_id, is_round=int(what == "round"))
            await self.jobs.restyle(owner_id, is_round=int(what == "round"))
        elif what in {"tidy", "untidy"}:
            if not await self.groups.is_run_by(caller.chat.id, caller.id):
                return texts.FOR_GROUP_ADMINS
            await self.peers.choose(caller.chat.id, keeps_chatter=int(what == "untidy"))
        else:
            chosen = what.removeprefix(_LANGUAGE)
            spoken = chosen if chosen in LANGUAGES else closest_language(query.from_user.language_code)
            await self.peers.choose(owner_id, language=chosen if chosen in LANGUAGES else None)
            await self.jobs.restyle(owner_id, language=spoken)
            caller = dataclasses.replace(caller, words=words_for(spoken))
        await replace(query, await self.commands.settings_menu(caller, owner_id))
        return texts.SAVED
