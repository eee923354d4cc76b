"""Hypothesis plays everybody at once: people, AKOOL, Telegram, and what kills and stops our process.

In the end everything heals, people complete what they began, time passes, and all promises must have been kept.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from bot.sandbox.chats import Chat
from bot.sandbox.stand_in import Call
from bot.sandbox.stand_in import Fault as Outage
from bot.sandbox.videos import COMPLETED, FAILED
from invariants import broken_promises
from plans import TORTURE, patiently, universe
from simulated_hooks import Fault, Trouble
from universe import Universe

__all__ = ["universe"]

_PEOPLE = (7, 8)
_HOURS = 4 * 3600
_EXAMPLES = 15
_STEPS = 30

people = st.sampled_from(_PEOPLE)
numbers = st.integers(0, 99)


def strikes(*, within: int) -> st.SearchStrategy[tuple[Trouble, int, float]]:
    """What befalls our process, after how many hooks, and how long after its lease a frozen one goes on."""
    return st.tuples(st.sampled_from(Trouble), st.integers(0, within), st.sampled_from([1.0, 15.0, 90.0]))


class Everybody(RuleBasedStateMachine):
    def __init__(self, universe: Universe) -> None:
        super().__init__()
        self._universe = universe
        self._opening = universe.world(daily_limit=0, max_pending_per_user=0, akool_max_concurrent=2)
        self._blocks: dict[int, list[Outage]] = {}
        self.world = universe.do(self._opening.__aenter__())
        self.world.patience_seconds = _HOURS
        self._do(asyncio.sleep(1))

    def _do(self, *doings: Coroutine[Any, Any, object]) -> None:
        """Let it happen, and half a second pass."""

        async def happen() -> None:
            for doing in doings:
                await doing
            await asyncio.sleep(0.5)

        self._universe.do(happen())

    # --- people ---

    @initialize(code=st.sampled_from([None, 1003, 1005, 1006, 1015]), plan=st.lists(strikes(within=300), max_size=3))
    def begin(self, code: int | None, plan: list[tuple[Trouble, int, float]]) -> None:
        """Everybody wants a video; AKOOL may not like the first, and our process has faults ahead."""
        if code:
            self.refuse_to_create(code, times=1)
        for strike in plan:
            self.strike(strike)
        for who in _PEOPLE:
            self.send_both(who)

    @rule(who=people, times=st.integers(1, 2))
    def send_photo(self, who: int, times: int) -> None:
        self._do(*(self.world.send_photo(self._chat(who)) for _ in range(times)))

    @rule(who=people, times=st.integers(1, 2))
    def send_voice(self, who: int, times: int) -> None:
        self._do(*(self.world.send_voice(self._chat(who)) for _ in range(times)))

    @rule(who=people)
    def send_both(self, who: int) -> None:
        self._do(self.world.send_photo(self._chat(who)), self.world.send_voice(self._chat(who)))

    @rule(who=people, words=st.sampled_from(["/cancel", "/status", "/start", "Hello?"]))
    def say(self, who: int, words: str) -> None:
        self._do(self._chat(who).send_text(words))

    @rule(number=numbers, times=st.integers(1, 2), is_stranger=st.booleans())
    def press_a_button(self, number: int, times: int, *, is_stranger: bool) -> None:
        choices = [
            (chat, message, data)
            for chat in self.world.chats
            for message in chat.messages
            for data in message.buttons.values()
        ]
        if choices:
            stranger = self.world.telegram.user(666) if is_stranger else None
            chat, message, data = choices[number % len(choices)]
            self._do(*(self.world.press(chat, message, data, by=stranger) for _ in range(times)))

    @rule(who=people)
    def block_the_bot(self, who: int) -> None:
        if who not in self._blocks:
            self._blocks[who] = [self._refusing(what, who) for what in ("send*", "edit*")]
            self._do(self._member(who, "kicked"))

    @rule(who=people)
    def unblock_the_bot(self, who: int) -> None:
        if blocks := self._blocks.pop(who, None):
            for block in blocks:
                block.times = 0
            self._do(self._member(who, "member"))

    # --- our process ---

    @rule(strike=strikes(within=30))
    def strike(self, strike: tuple[Trouble, int, float]) -> None:
        """Crash or freeze, so many hooks from now."""
        trouble, after, thaws_after = strike
        at = len(self.world.hooks.passed) + after
        self.world.hooks.faults[at] = Fault(trouble, at, thaws_after)

    @rule()
    def thaw(self) -> None:
        """A freeze that may be shorter than the lease."""
        for incarnation in self.world.incarnations:
            incarnation.thaw()
        self._do()

    @rule(seconds=st.sampled_from([1, 5, 30, 70, 300]))
    def wait(self, seconds: int) -> None:
        self._do(asyncio.sleep(seconds))

    # --- AKOOL and Telegram ---

    @rule(code=st.sampled_from([1003, 1005, 1006, 1015]), times=st.integers(1, 3))
    def refuse_to_create(self, code: int, times: int) -> None:
        self.world.akool.fail("createbytalkingphoto", code=code, times=times)

    @rule(what=st.sampled_from(["createbytalkingphoto", "infobymodelid", "video"]), before=st.booleans())
    def lose_an_answer(self, what: str, *, before: bool) -> None:
        self.world.akool.drop(what, before=before)

    @rule(what=st.sampled_from(["createbytalkingphoto", "infobymodelid", "video"]))
    def show_a_web_page(self, what: str) -> None:
        self.world.akool.fail(what, http_status=502)

    @rule()
    def fail_a_render(self) -> None:
        self.world.akool.fail_next_render("no face")

    @rule(how=st.sampled_from(["normal", "never", "twice", "in pieces", "early"]))
    def call_back_otherwise(self, how: Any) -> None:
        self.world.akool.callbacks = how

    @precondition(lambda self: self.world.akool.videos)
    @rule(number=numbers)
    def call_back_once_more(self, number: int) -> None:
        """What AKOOL has said may come again at any time."""
        video = self.world.akool.videos[number % len(self.world.akool.videos)]
        url = f"{self.world.akool.root_url}/{video.file_name}" if video.status == COMPLETED else ""
        self._do(self.world.akool.call_back(video, {"status": video.status, "url": url}))

    @precondition(lambda self: self.world.akool.videos)
    @rule(number=numbers)
    def forge_a_callback(self, number: int) -> None:
        """Who knows neither the key nor the token achieves nothing."""
        video = self.world.akool.videos[number % len(self.world.akool.videos)]
        url = str(video.request["webhookUrl"])
        post = self.world.akool.http.post
        self._do(_tried(post(url, content=b"{}")), _tried(post(url[:-1] + "~", json={"status": FAILED})))

    @rule(before=st.booleans(), what=st.sampled_from(["send*", "edit*", "delete*", "answer*", "getFile"]))
    def hang_up(self, *, before: bool, what: str) -> None:
        self.world.telegram.drop(what, before=before)
        if not before:
            self.world.lost_answers += 1

    @rule(status=st.sampled_from([429, 500]), what=st.sampled_from(["send*", "edit*", "getFile", "getUpdates"]))
    def fail(self, status: int, what: str) -> None:
        self.world.telegram.fail(what, status, retry_after=3)

    # --- the end ---

    def teardown(self) -> None:
        try:
            self._universe.do(self._heal())
            broken = self._universe.do(broken_promises(self.world))
            assert not broken, f"{broken} after {self.world.struck}"
        finally:
            self._universe.do(self._opening.__aexit__(None, None, None))

    async def _heal(self) -> None:
        self.world.hooks.faults.clear()
        self.world.akool.faults.clear()
        self.world.telegram.faults.clear()
        self.world.akool.callbacks = "normal"
        for who in self._blocks:
            await self._member(who, "member")
        await self.world.recover()
        while lacking := self.world.rows("SELECT chat_id, photo_key FROM jobs WHERE state = 'collecting'"):
            for chat_id, photo in lacking:
                send = self.world.send_photo if photo is None else self.world.send_voice
                await send(self._chat(chat_id))
                await asyncio.sleep(120)  # an outage may have made a half late
        await self.world.live_on()

    def _chat(self, who: int) -> Chat:
        return self.world.person(who)

    def _refusing(self, what: str, who: int) -> Outage:
        def is_theirs(call: Call) -> bool:
            return call.parameters.get("chat_id") == who

        self.world.telegram.fail(what, 403, "Forbidden: bot was blocked by the user", times=10**6, when=is_theirs)
        block = self.world.telegram.faults.pop()
        self.world.telegram.faults.insert(0, block)
        return block

    async def _member(self, who: int, status: str) -> None:
        """Telegram tells what became of the bot in a chat."""
        chat, telegram = self._chat(who), self.world.telegram
        before, now = ("member", "kicked") if status == "kicked" else ("kicked", "member")
        change = {
            "chat": chat.raw,
            "from": telegram.user(who),
            "date": telegram.now_ms // 1000,
            "old_chat_member": {"user": telegram.me, "status": before, "until_date": 0},
            "new_chat_member": {"user": telegram.me, "status": now, "until_date": 0},
        }
        await telegram.updates.add("my_chat_member", change, lane=f"chat {who}")


async def _tried(attempt: Coroutine[Any, Any, object]) -> None:
    await asyncio.gather(attempt, return_exceptions=True)


@patiently
def test_whatever_everybody_does_all_promises_are_kept(universe: Universe) -> None:
    """Any interleaving of what people, vendors and machines do ends well."""
    run_state_machine_as_test(
        lambda: Everybody(universe),  # type: ignore[arg-type] # documented: "a factory"
        settings=settings(
            max_examples=_EXAMPLES * max(1, 20 * TORTURE),
            stateful_step_count=_STEPS,
            derandomize=not TORTURE,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
