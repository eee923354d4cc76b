"""A round: so many people send a photo and a voice note each, at once, and get their videos."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks import media
from benchmarks.stage import Program, Stage
from bot import texts
from bot.sandbox import Chat, Message, Video

PATIENCE_SECONDS = 90

_BEING_MADE = texts.STATUS_RENDERING.partition(" {")[0]


@dataclass(frozen=True)
class Round:
    """Of each job: our own time in ms, from voice to create call and from completed render to `sendVideo`.

    Jobs are paired in order, the first voice with the first create call and so on, which leaves their mean as it is.
    `cpu_seconds` is the program's, for all of them; so are the Bot API's `calls`.
    """

    to_create_ms: Sequence[int]
    to_video_ms: Sequence[int]
    cpu_seconds: float
    calls: Counter[str]

    @classmethod
    def of(cls, rounds: Sequence["Round"]) -> "Round":
        """Several rounds as one."""
        return cls(
            to_create_ms=[ms for each in rounds for ms in each.to_create_ms],
            to_video_ms=[ms for each in rounds for ms in each.to_video_ms],
            cpu_seconds=sum(each.cpu_seconds for each in rounds),
            calls=sum((each.calls for each in rounds), Counter()),
        )


async def play(stage: Stage, program: Program, count: int) -> Round:
    """Play a round of `count` jobs.

    A voice comes after its photo has been prepared, and a render ends after its chat has been told that it runs: so
    every job sees the same events. Nothing else goes on meanwhile, so that the CPU time is that of these jobs.
    """
    chats = stage.chats(count)
    calls_before, creates_before, cpu_before = (
        len(stage.telegram.calls),
        len(stage.akool.creates),
        program.cpu_seconds(),
    )

    voices_at, videos = await begin(stage, chats)
    await asyncio.gather(*map(stage.akool.finish, videos))
    await until(stage, lambda: all(map(_has_nothing_but_video, chats)))

    calls = stage.telegram.calls[calls_before:]
    return Round(
        to_create_ms=_waits(voices_at, [call.at_ms for call in stage.akool.creates[creates_before:]]),
        to_video_ms=_waits(
            [video.completed_at_ms for video in videos], [call.at_ms for call in calls if call.name == "sendVideo"]
        ),
        cpu_seconds=program.cpu_seconds() - cpu_before,
        calls=Counter(call.name for call in calls),
    )


async def begin(stage: Stage, chats: Sequence[Chat]) -> tuple[list[int], list[Video]]:
    """Bring a job in each chat to AKOOL, where it stays: when the voices came (ms), and the videos to be rendered."""
    photo, videos_before = media.photo(), len(stage.akool.videos)
    for chat in chats:
        chat.messages.clear()
        await chat.send_photo(photo)
    await until(stage, lambda: all(map(status, chats)))

    voices_at = []
    for chat in chats:
        voices_at.append(stage.telegram.now_ms)
        await chat.send_voice(media.VOICE)
    await until(stage, lambda: all(status(chat).startswith(_BEING_MADE) for chat in chats))
    return voices_at, stage.akool.videos[videos_before:]


async def until(stage: Stage, look: Callable[[], bool]) -> None:
    await stage.telegram.wait_until(look, timeout_seconds=PATIENCE_SECONDS)


def status(chat: Chat) -> str:
    """What the chat is told of its job; empty before it is told anything."""
    return next((message.text for message in _from_bot(chat)), "")


def _has_nothing_but_video(chat: Chat) -> bool:
    return [message.video is not None for message in _from_bot(chat)] == [True]


def _from_bot(chat: Chat) -> list[Message]:
    return [message for message in chat.messages if message.is_from_bot]


def _waits(begun_at: Sequence[int], ended_at: Sequence[int]) -> list[int]:
    return [end - begin for begin, end in zip(sorted(begun_at), sorted(ended_at), strict=True)]
