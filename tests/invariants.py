"""What must hold once all faults are over and time has passed: nothing lost, nothing paid twice."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bot.clock import Clock
from bot.patience import DAY_MS
from bot.sandbox.chats import Chat, Message
from bot.sandbox.stand_in import Call as Request
from bot.sweeper import Sweeper
from simulated_hooks import Trouble
from simulated_media import SimulatedStore, mark_of, marks_in
from simulation import World
from storage.job import TERMINAL, Job, State
from storage.jobs import Jobs
from storage.ledger import Call, Ledger
from storage.notices import Notices
from storage.retention import Retention
from storage.updates import Updates

_GIVEN_UP = ("render_timeout", "result_lost", "undeliverable")


@dataclass
class Books:
    """What the world says, and what the bot's database says, side by side."""

    world: World
    jobs: list[Job]
    calls: dict[str, Call]
    creates: list[Request]


def token_of(create: Request) -> str:
    return str(create.parameters["webhookUrl"]).rpartition("/")[2]


async def broken_promises(world: World) -> list[str]:
    """Every invariant that does not hold, in a sentence each. The world must be at rest."""
    jobs = await Jobs(world.database).list()
    calls = [call for job in jobs for call in await Ledger(world.database).of_job(job.id)]
    books = Books(world, list(reversed(jobs)), {call.token: call for call in calls}, world.akool.creates)
    found = [
        *_paid_twice(books),
        *_unfinished(books),
        *_undelivered(books),
        *_lost_updates(books),
        *_repeated_halves(books),
        *_failures(world),
    ]
    return [*found, *[sentence async for sentence in _orphans(books)]]


def _paid_twice(books: Books) -> Iterator[str]:
    """A token is for one call. A job has one call that was not refused, and one more after each risk that was taken."""
    for token, times in Counter(map(token_of, books.creates)).items():
        if times > 1:
            yield f"a create call was repeated {times} times with the same token"
        if token not in books.calls:
            yield "a create call is not in the ledger"
    paid: Counter[tuple[int, int]] = Counter()
    for create in books.creates:
        call = books.calls.get(token_of(create))
        if call is not None and call.token not in books.world.network.refused:
            risks = sum(at <= call.created_at for at in books.world.risked.get(call.job_id, ()))
            paid[call.job_id, risks] += 1
    for (job_id, risks), times in paid.items():
        if times > 1:
            yield f"job {job_id} was paid {times} times after its owner took {risks} risks"


def _unfinished(books: Books) -> Iterator[str]:
    for job in books.jobs:
        if job.state not in TERMINAL:
            yield f"job {job.id} is still {job.state}"
        if job.claim or job.due_at or job.status_claim or job.status_at:
            yield f"job {job.id} is {job.state}, and somebody still has work with it"
    ended = {job.id for job in books.jobs if job.state in TERMINAL}
    for call in books.calls.values():
        if call.job_id in ended and call.closed_at is None:
            yield f"a call of job {call.job_id} is open, although the job has ended"


def _undelivered(books: Books) -> Iterator[str]:
    """A delivered video is in its chat, once, or once more for each fault between Telegram's yes and our note."""
    pairs = Counter((job.chat_id, job.photo_message_id, job.voice_message_id) for job in books.jobs if _delivered(job))
    more: Counter[Any] = Counter()
    for job in books.jobs:
        allowed = books.world.extra_copies[job.id] + (job.state is State.CANCELLED and job.video_key is not None)
        more[job.chat_id, job.photo_message_id, job.voice_message_id] += allowed + books.world.lost_answers
    copies: Counter[Any] = Counter()
    for chat in books.world.chats:
        for message in _videos(chat):
            copies[chat.id, *_halves_in(chat, message)] += 1
    for pair in pairs | copies:
        if not pairs[pair] <= copies[pair] <= pairs[pair] + more[pair]:
            yield f"the video of {pair} is {copies[pair]} times in its chat, not {pairs[pair]} (+ {more[pair]})"
    for job in books.jobs:
        if job.reason in _GIVEN_UP:
            yield f"job {job.id} was given up, although its video was made ({job.reason})"


def _delivered(job: Job) -> bool:
    return job.state is State.DELIVERED


def _videos(chat: Chat) -> list[Message]:
    return [message for message in chat.messages if message.is_from_bot and message.video]


def _halves_in(chat: Chat, video: Message) -> tuple[int | None, int | None]:
    """The messages whose files were made into the video."""
    data = video.file.data if video.file else b""
    by_mark = {
        mark_of(message.file.data): message.id for message in chat.messages if message.file and not message.is_from_bot
    }
    photo, voice = marks_in(data)
    return by_mark.get(photo), by_mark.get(voice)


def _lost_updates(books: Books) -> Iterator[str]:
    rows = {
        number: (due_at, error)
        for number, due_at, error in books.world.rows("SELECT update_id, due_at, error FROM updates")
    }
    for number in books.world.update_ids():
        match rows.get(number, "lost"):
            case (None, None):
                continue
            case fate:
                yield f"update {number} was not handled: {fate}"


def _repeated_halves(books: Books) -> Iterator[str]:
    """A voice note is in one job only, and in one more for each time that its owner pressed `again`."""
    seen = Counter(
        (job.chat_id, job.voice_message_id) for job in books.jobs if job.voice_message_id and job.reason != "merged"
    )
    repeated: Counter[Any] = Counter()
    for job in books.jobs:
        repeated[job.chat_id, job.voice_message_id] += min(1, books.world.repeated[job.id])
    for voice, times in seen.items():
        if times > 1 + repeated[voice]:
            yield f"voice {voice} is in {times} jobs: it was handled twice"


def strays(world: World) -> Iterator[str]:
    """When all is delivered nothing is left of the status messages, but for one that a crash left nobody to know of."""
    left = [message.text for chat in world.chats for message in chat.messages if message.is_from_bot and message.text]
    if len(left) > sum(fault.startswith(Trouble.CRASH) for fault in world.struck):
        yield f"left in the chats: {left}"


def _failures(world: World) -> Iterator[str]:
    """No loop ever ends by itself."""
    for incarnation in world.incarnations:
        loops = incarnation.service._tasks if incarnation.service else ()
        for task in (incarnation.start, *loops):
            if task is not None and task.done() and task.exception() is not None:
                yield f"{task.get_name()} of {incarnation.process.name} failed: {task.exception()!r}"


class _TwoDaysLater(Clock):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> int:
        return self._clock.now() + 2 * DAY_MS


async def _orphans(books: Books) -> Any:
    world = books.world
    store = SimulatedStore(world.vault, world.hooks, None)
    database = world.database
    sweeper = Sweeper(
        Updates(database), Notices(database), Retention(database), store, _TwoDaysLater(world.clock), retention_days=30
    )
    await sweeper.sweep()
    belong = {key for job in books.jobs for key in (job.photo_key, job.voice_key, job.video_key) if key}
    for key in world.vault.written.keys() - belong:
        yield f"the object {key} belongs to nobody"
    for key in belong - world.vault.written.keys():
        yield f"the object {key} is gone"
