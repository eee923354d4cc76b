"""What Telegram shows of the bot: set in every language, and only where it has changed."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from bot import texts
from bot.limiter import Limiter
from bot.profile import Profile
from bot.sandbox import BotApi
from bot.sandbox.stand_in import Call
from bot.telegram import build_application
from bot.texts import LANGUAGES, words_for
from clocks import TurnableClock
from storage.database import open_database
from storage.notices import Notices
from storage.rates import OwnRates
from storage.replicas import Duty, Held
from world import World, world


def profile_calls(here: World) -> list[Call]:
    return [call for call in here.telegram.calls if call.name.startswith("setMy")]


async def all_set(here: World) -> list[Call]:
    """Three scopes with one admin, and two descriptions, in each language."""
    await here.telegram.wait_until(lambda: len(profile_calls(here)) == 5 * len(LANGUAGES), timeout_seconds=20)
    return profile_calls(here)


def telegram_of(*admins: int) -> BotApi:
    """Whose admins have written to the bot."""
    telegram = BotApi()
    for admin in admins:
        telegram.private_chat(admin)
    return telegram


async def test_the_commands_are_set_by_scope_and_language(tmp_path: Path) -> None:
    async with world(tmp_path, telegram=telegram_of(9), sets_profile=True, admin_users="9") as here:
        calls = await all_set(here)
    shown = {
        (call.parameters["scope"]["type"], call.parameters.get("language_code")): [
            command["command"] for command in call.parameters["commands"]
        ]
        for call in calls
        if call.name == "setMyCommands"
    }
    assert {scope for scope, _ in shown} == {"all_private_chats", "all_group_chats", "chat"}
    assert {code for _, code in shown} == {None, *(language[:2] for language in LANGUAGES[1:])}
    assert shown["all_private_chats", "de"] == list(texts.COMMANDS)
    assert shown["all_group_chats", None] == list(texts.GROUP_COMMANDS)
    assert set(texts.ADMIN_COMMANDS) <= set(shown["chat", "fr"])
    descriptions = {call.parameters["description"] for call in calls if call.name == "setMyDescription"}
    assert descriptions == {words_for(language).plain(texts.DESCRIPTION) for language in LANGUAGES}


async def test_nothing_is_set_twice_but_what_has_changed(tmp_path: Path) -> None:
    """A restart sets nothing; another admin gets a menu of their own, and a refusal is tried again."""
    async with world(tmp_path, telegram=telegram_of(9), sets_profile=True, admin_users="9") as here:
        await all_set(here)
    telegram = telegram_of(9, 10)
    telegram.fail("setMyCommands", 429, retry_after=1)
    async with world(tmp_path, telegram=telegram, sets_profile=True, admin_users="9,10") as here:
        await telegram.wait_for_call("setMyCommands", timeout_seconds=20)
        scopes = {call.parameters["scope"].get("chat_id") for call in profile_calls(here)}
    assert scopes == {10}


async def test_an_admin_who_has_never_written_holds_nothing_up(tmp_path: Path) -> None:
    async with world(tmp_path, sets_profile=True, admin_users="9") as here:
        await all_set(here)


async def test_replicas_set_everything_once(own_postgres_url: str) -> None:
    """Both begin at the same time; one does it, and the other sees that it is done."""
    clock, telegram = TurnableClock(), BotApi()
    async with telegram.serving() as url, AsyncExitStack() as stack:
        profiles = []
        for _ in range(2):
            database = await stack.enter_async_context(open_database(own_postgres_url, now=clock.now))
            limiter = Limiter(clock, OwnRates(clock.now))
            application = await stack.enter_async_context(build_application(telegram.token, url, limiter))
            duty = Held(database, Duty.PROFILE)
            profiles.append(Profile(application.bot, Notices(database), duty, clock, []))
        setting = asyncio.gather(*(profile.run() for profile in profiles))
        while not setting.done():
            clock.turn(seconds=1)
            await asyncio.sleep(0)
        await setting
    assert len([call for call in telegram.calls if call.name.startswith("setMy")]) == 4 * len(LANGUAGES)
