"""Every word that a person reads: short, warm, plain. HTML, with everything foreign escaped.

The messages stand here in English, by what they are about; their translations are `bot/locales/*/LC_MESSAGES/bot.po`
(`make messages` brings those up to date with what is marked here).
"""

from bot.texts.commands import *  # noqa: F403 - one face for the messages, which are many
from bot.texts.failures import *  # noqa: F403
from bot.texts.operators import *  # noqa: F403
from bot.texts.saying import Button as Button
from bot.texts.saying import Say as Say
from bot.texts.status import *  # noqa: F403
from bot.texts.words import LANGUAGES as LANGUAGES
from bot.texts.words import Words as Words
from bot.texts.words import closest_language as closest_language
from bot.texts.words import in_language as in_language
from bot.texts.words import words_for as words_for
