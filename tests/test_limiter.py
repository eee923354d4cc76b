"""Telegram's rates: per chat, per group, overall; a status never stands in a video's way."""

import asyncio
from collections.abc import Awaitable

import pytest
from telegram.error import RetryAfter

from bot.limiter import STATUS, Limiter
from clocks import TurnableClock
from storage.rates import OwnRates


class Calls:
    """Counts what gets through, and can answer with a 429."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.made: list[str] = []
        self.flood_seconds = 0

    async def make(self, endpoint: str, chat_id: int | None, *, status: bool = False) -> object:
        async def call() -> bool:
            self.made.append(endpoint)
            if self.flood_seconds:
                raise RetryAfter(self.flood_seconds)
            return True

        data = {} if chat_id is None else {"chat_id": chat_id}
        return await self.limiter.process_request(call, (), {}, endpoint, data, STATUS if status else None)


@pytest.fixture
def clock() -> TurnableClock:
    return TurnableClock()


@pytest.fixture
def calls(clock: TurnableClock) -> Calls:
    return Calls(Limiter(clock, OwnRates(clock.now)))


async def let_through(attempts: list[Awaitable[object]]) -> int:
    """How many of them are made at once, without waiting."""
    through = 0
    for attempt in attempts:
        try:
            await attempt
        except RetryAfter:
            continue
        through += 1
    return through


async def test_statuses_in_one_chat_are_few_and_leave_the_last_place(calls: Calls) -> None:
    through = await let_through([calls.make("editMessageText", 7, status=True) for _ in range(9)])

    assert through == 3
    assert await calls.make("sendVideo", 7) is True


async def test_a_group_gets_twenty_a_minute(calls: Calls, clock: TurnableClock) -> None:
    async def through() -> int:
        found = 0
        for _ in range(3):
            found += await let_through([calls.make("editMessageText", -7, status=True) for _ in range(20)])
            clock.turn(seconds=1)
        return found

    assert await through() == 19
    clock.turn(seconds=60)
    assert await through() == 19


async def test_a_flooded_chat_waits_alone(calls: Calls, clock: TurnableClock) -> None:
    calls.flood_seconds = 5
    with pytest.raises(RetryAfter):
        await calls.make("sendVideo", 7)
    calls.flood_seconds = 0
    with pytest.raises(RetryAfter) as caught:
        await calls.make("sendVideo", 7)
    assert await calls.make("sendVideo", 8) is True

    assert calls.made == ["sendVideo", "sendVideo"], "the second for chat 7 was not even tried"
    assert caught.value.retry_after
    clock.turn(seconds=6)
    assert await calls.make("sendVideo", 7) is True


@pytest.mark.parametrize("endpoint", ["editMessageText", "sendChatAction", "deleteMessage"])
async def test_a_flood_of_what_may_be_left_out_stops_only_the_like(
    calls: Calls, clock: TurnableClock, endpoint: str
) -> None:
    """If the chat itself is shut, the video's own try will tell."""
    calls.flood_seconds = 30
    with pytest.raises(RetryAfter):
        await calls.make(endpoint, 7, status=True)
    calls.flood_seconds = 0
    assert await let_through([calls.make(endpoint, 7, status=True)]) == 0
    others = {"editMessageText", "sendChatAction", "deleteMessage"} - {endpoint}
    assert await let_through([calls.make(other, 7, status=True) for other in others]) == 2
    assert await calls.make("sendVideo", 7) is True

    clock.turn(seconds=31)
    assert await calls.make(endpoint, 7, status=True) is True


@pytest.mark.parametrize("endpoint", ["sendChatAction", "deleteMessage", "getFile", "answerCallbackQuery"])
async def test_what_telegram_does_not_count_is_not_counted(calls: Calls, endpoint: str) -> None:
    assert await let_through([calls.make(endpoint, 7, status=True) for _ in range(50)]) == 50


async def test_what_matters_waits_its_turn(calls: Calls, clock: TurnableClock) -> None:
    await let_through([calls.make("sendMessage", 7) for _ in range(4)])
    waiting = asyncio.create_task(calls.make("sendVideo", 7))
    while not clock._waiting:
        await asyncio.sleep(0)
    assert not waiting.done()
    clock.turn(seconds=1)

    assert await waiting is True


async def test_in_no_second_are_there_more_than_thirty_messages(calls: Calls, clock: TurnableClock) -> None:
    """However many chats there are."""
    made_at = []
    for chat in range(1, 600):
        made_at += [clock.now()] * await let_through([calls.make("sendMessage", chat, status=True)])
        clock.turn(seconds=0.005)

    most = max(sum(1 for at in made_at if start <= at < start + 1000) for start in made_at)
    assert 25 <= most <= 30


async def test_a_429_for_a_message_is_heeded_by_those_who_share_the_rates(clock: TurnableClock) -> None:
    """Another replica must not knock at a chat that has just been flooded by this one; other chats are open."""
    rates = OwnRates(clock.now)
    one, other = Calls(Limiter(clock, rates)), Calls(Limiter(clock, rates))
    one.flood_seconds = 60
    with pytest.raises(RetryAfter):
        await one.make("sendVideo", 7)

    with pytest.raises(RetryAfter):
        await other.make("sendVideo", 7)
    assert await other.make("sendVideo", 8) is True
    clock.turn(seconds=60)
    assert await other.make("sendVideo", 7) is True
