"""Every message in every language: all there, with the same placeholders; and none of them outside of `bot/texts`."""

import ast
import asyncio
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from bot import texts
from bot.sandbox import BotApi
from bot.texts import LANGUAGES, closest_language, in_language, words_for
from bot.texts.words import LOCALES
from media_samples import sound
from scenes import ask, job_in, says, toast, video_in
from storage.job import State
from world import PHOTO, world

BOT = Path(texts.__file__).parent.parent
KEYWORDS = {"N_": None, "NN_": (1, 2)}
FOREIGN = [language for language in LANGUAGES if language != "en"]
VOICE = sound(seconds=1)


def marked() -> set[str | tuple[str, ...]]:
    """What is marked in the code."""
    return {message for _, _, message, _, _ in extract_from_dir(BOT / "texts", keywords=KEYWORDS)}


def catalogue(language: str) -> Catalog:
    with (LOCALES / language / "LC_MESSAGES" / "bot.po").open("rb") as file:
        return read_po(file, locale=language)


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def forms(text: Any) -> tuple[str, ...]:
    """A message, or its forms for different numbers."""
    return (text,) if isinstance(text, str) else tuple(text)


@pytest.mark.parametrize("language", FOREIGN)
def test_every_message_is_there_with_its_placeholders_and_tags(language: str) -> None:
    """`make messages` has run: nothing lacks, and nothing is left of what is no longer said."""
    found = {message.id: message.string for message in catalogue(language) if message.id}
    assert {key if isinstance(key, str) else tuple(key) for key in found} == marked()
    for message, translation in found.items():
        wanted = placeholders(forms(message)[-1])
        for form in forms(translation):
            assert form.strip(), message
            missing = wanted - placeholders(form)
            assert not placeholders(form) - wanted, form
            assert not missing - ({"n"} if not isinstance(message, str) else set()), form
            assert re.findall(r"</?\w+>", form) == re.findall(r"</?\w+>", forms(message)[-1]), form
            assert not re.search(r"[<>&]", re.sub(r"</?code>", "", form)), form


@pytest.mark.parametrize("language", FOREIGN)
def test_telegram_s_limits_hold_in_every_language(language: str) -> None:
    """Toasts 200 characters, placeholders 64, descriptions of commands 256, of the bot 512 and 120."""
    words = in_language(language)
    assert len(words.plain(texts.SHORT_DESCRIPTION)) <= 120
    assert len(words.plain(texts.DESCRIPTION)) <= 512
    for message in (*texts.COMMANDS.values(), *texts.ADMIN_COMMANDS.values()):
        assert len(words.plain(message)) <= 256
    for message in (texts.PLACEHOLDER_PHOTO, texts.PLACEHOLDER_VOICE):
        assert len(words.plain(message)) <= 64
    for message in (texts.NOT_FORGOTTEN, texts.ALREADY_PAID, texts.NOT_YOURS, texts.VIDEO_GONE, texts.CANCELLED_PAID):
        assert len(words.plain(message)) <= 200


def strings_of(tree: ast.AST) -> Iterator[str]:
    """The strings in code that somebody may get to read: no docstrings, nothing that is logged or raised."""
    for node in ast.iter_child_nodes(tree):
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_logged = isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("log.", "logging."))
        if is_docstring or is_logged or isinstance(node, ast.Raise):
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        yield from strings_of(node)


@pytest.mark.parametrize("path", sorted(BOT.glob("*.py")), ids=lambda path: path.stem)
def test_no_sentence_that_people_read_stands_in_the_code(path: Path) -> None:
    if path.stem in {"cli", "config", "logs", "metrics", "exposition"}:
        return  # these speak with the operator's terminal and with Prometheus, or quote libraries
    sentences = re.compile(r"[\w']+[,.:]? [\w']+.*[.!?…]$|[A-Z][\w']*( [\w']+)+$")
    found = [text for text in strings_of(ast.parse(path.read_text(encoding="utf-8"))) if sentences.match(text)]
    assert not found


def test_the_template_is_up_to_date() -> None:
    with (LOCALES / "bot.pot").open("rb") as file:
        found = {message.id if isinstance(message.id, str) else tuple(message.id) for message in read_po(file)}
    assert found - {""} == marked()


@pytest.mark.parametrize(
    ("code", "language"),
    [
        *[("de", "de"), ("de-AT", "de"), ("pt-br", "pt_BR"), ("pt", "pt_BR"), ("zh-hans", "zh_CN"), ("uk", "uk")],
        *[("en-GB", "en"), ("nl", "en"), ("", "en"), (None, "en"), ("???", "en")],
    ],
)
def test_a_language_code_of_telegram_s_finds_its_language(code: str | None, language: str) -> None:
    assert closest_language(code) == language


def test_numbers_and_plurals_are_right() -> None:
    assert words_for("ru").counted(texts.LEFT_TODAY, 1) != words_for("ru").counted(texts.LEFT_TODAY, 2)
    assert words_for("en").counted(texts.LEFT_TODAY, 1) == "You have 1 more video today."
    assert words_for("en").counted(texts.LEFT_TODAY, 1200) == "You have 1,200 more videos today."
    assert "1.200" in words_for("de").counted(texts.LEFT_TODAY, 1200)
    assert words_for("nobody's").language == "en"


def test_what_is_foreign_is_escaped() -> None:
    group = "<b>R&D</b>"
    assert "&lt;b&gt;R&amp;D&lt;/b&gt;" in words_for("de")(texts.GROUP_LACKS_MESSAGES, group=group)
    assert group in words_for("de").plain(texts.GROUP_LACKS_MESSAGES, group=group)


async def test_a_german_is_spoken_to_in_german_until_they_choose_otherwise(tmp_path: Path) -> None:
    """From the first word to the last; an open job follows the choice."""
    telegram = BotApi()
    async with world(tmp_path, telegram=telegram) as here:
        german = words_for("de")
        ada = telegram.private_chat(70, first_name="Ada", language_code="de")
        assert (await ask(ada, "/start")).text == german(texts.WELCOME)
        assert german(texts.WELCOME) != texts.WELCOME
        await ada.send_photo(PHOTO)
        await says(ada, german(texts.STATUS_ONLY_PHOTO))
        menu = await ask(ada, "/settings")
        language, _ = menu.buttons
        assert language == german.plain(texts.BUTTON_LANGUAGE, name="Deutsch")
        await toast(telegram, await ada.press(menu, language))
        await toast(telegram, await ada.press(menu, "Français"))
        french = words_for("fr")
        assert menu.text == french(texts.SETTINGS)
        assert (await job_in(here, ada, State.COLLECTING)).language == "fr"
        assert (await ask(ada, "/start")).text == french(texts.WELCOME)
        await toast(telegram, await ada.press(menu, next(iter(menu.buttons))))
        await toast(telegram, await ada.press(menu, french.plain(texts.BUTTON_LIKE_TELEGRAM)))
        assert (await ask(ada, "/start")).text == german(texts.WELCOME)
        await ada.send_voice(VOICE)
        await video_in(ada)


async def test_an_unhappy_job_is_told_in_every_language(tmp_path: Path) -> None:
    telegram = BotApi()

    async def be_told(user_id: int, language: str) -> None:
        words = words_for(language)
        chat = telegram.private_chat(user_id, language_code=language.partition("_")[0])
        await chat.send_photo(PHOTO)
        await chat.send_voice(VOICE)
        failure = await chat.wait_for(lambda message: message.buttons)
        assert failure.text == words(texts.FAILURES["render_failed_face"], cost=words(texts.COST_NOTHING))
        assert list(failure.buttons) == [words.plain(texts.BUTTON_OTHER_PHOTO)]

    async with world(tmp_path, telegram=telegram) as here:
        for _ in FOREIGN:
            here.akool.fail_next_render("no face")
        await asyncio.gather(*(be_told(user_id, language) for user_id, language in enumerate(FOREIGN, 70)))
