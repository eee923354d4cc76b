"""Starting: what stops the bot, and what does not."""

import asyncio
from pathlib import Path

import pytest

from bot.clock import Clock
from bot.resources import scratch_folder
from bot.sandbox import BotApi
from bot.telegram import TokenRefused
from world import PHOTO, VOICE, world


class Impatient(Clock):
    """Does not wait between tries."""

    async def wait(self, bell: asyncio.Event, *, seconds: float) -> None:
        await super().wait(bell, seconds=min(seconds, 0.01))


async def test_a_wrong_token_stops_the_start_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TokenRefused, match="@BotFather"):
        async with world(tmp_path, telegram_bot_token="999:wrong"):
            pass


@pytest.mark.parametrize("method", ["getMe", "deleteWebhook"])
async def test_a_telegram_that_is_out_of_order_for_a_while_is_waited_for(tmp_path: Path, method: str) -> None:
    telegram = BotApi()
    telegram.fail(method, 502, times=3)
    async with world(tmp_path, telegram=telegram, clock=Impatient()) as here:
        await here.ada.send_text("/start")
        assert await here.says("I make photos talk")


async def test_methods_that_a_server_does_not_know_stop_nothing(tmp_path: Path) -> None:
    """Neither the removal of a webhook nor a chat action is worth a video."""
    telegram = BotApi()
    for method in ("deleteWebhook", "sendChatAction", "deleteMessage"):
        telegram.fail(method, 404, "Not Found: method not found", times=99)
    async with world(tmp_path, telegram=telegram) as here:
        await here.ada.send_photo(PHOTO)
        await here.says("Now send me a voice note")
        await here.ada.send_voice(VOICE)
        await here.video()


async def test_a_webhook_is_set_with_its_secret_before_anything_comes_by_it(tmp_path: Path) -> None:
    telegram = BotApi()
    telegram.fail("setWebhook", 500, times=2)
    async with world(tmp_path, telegram=telegram, telegram_updates="webhook", clock=Impatient()):
        call = telegram.calls[-1]

    assert call.name == "setWebhook"
    assert len(call.parameters["secret_token"]) >= 32
    assert "message" in call.parameters["allowed_updates"]


async def test_scratch_of_other_living_processes_is_left_alone(tmp_path: Path) -> None:
    """Replicas may share a folder; what a dead one left in it goes."""
    (tmp_path / "tmp" / "of-the-dead").mkdir(parents=True)
    with scratch_folder(tmp_path) as one:
        (one / "half").touch()
        assert not (tmp_path / "tmp" / "of-the-dead").exists()
        with scratch_folder(tmp_path) as other:
            assert one != other
            assert (one / "half").exists()
        assert not other.exists()
    assert not one.exists()


async def test_what_the_bot_keeps_is_for_nobody_else_on_the_machine(tmp_path: Path) -> None:
    async with world(tmp_path, app_secret="given, so that no file of it is made") as here:
        assert here.settings.data_dir.stat().st_mode & 0o777 == 0o700
