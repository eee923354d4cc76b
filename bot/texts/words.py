"""A language: its messages by gettext, its numbers and times by CLDR (both through Babel).

A message is its English text. It is marked where it stands (`N_`, `NN_`), and said in somebody's language by `Words`.
The catalogues are `bot/locales/<language>/LC_MESSAGES/bot.po`, compiled in memory when they are first needed.
"""

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from html import escape
from pathlib import Path

from babel import Locale
from babel.dates import format_date, format_time, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.support import NullTranslations, Translations

LOCALES = Path(__file__).parent.parent / "locales"
ENGLISH = "en"
LANGUAGES = (ENGLISH, "de", "es", "fr", "pt_BR", "ru", "uk", "tr", "id", "fa", "ar", "hi", "zh_CN")
"""In the order in which people are offered them."""

_FEWEST_OF_A_UNIT = 2  # up to two minutes people count in seconds
_BY_CODE = {language.partition("_")[0]: language for language in LANGUAGES}


def N_(message: str) -> str:  # noqa: N802 - gettext's own name for "to be translated, later"
    """Mark a message for translation."""
    return message


def NN_(one: str, many: str) -> tuple[str, str]:  # noqa: N802
    """Mark a message that depends on `{n}`."""
    return one, many


class Words:
    """What is said in one language.

    Messages are HTML (https://core.telegram.org/bots/api#html-style), and what is put into them is escaped. Whole
    numbers are written the language's way; an id, which people copy, is given as text.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._locale = Locale.parse(language)
        self._catalogue = _catalogue(language)

    def __call__(self, message: str, /, **values: str | int) -> str:
        """The message in HTML."""
        return self._catalogue.gettext(message).format(**self._written(values, as_html=True))

    def plain(self, message: str, /, **values: str | int) -> str:
        """The message for a button or a toast, which know no HTML."""
        return self._catalogue.gettext(message).format(**self._written(values, as_html=False))

    def counted(self, message: tuple[str, str], n: int, /, **values: str | int) -> str:
        """The form of the message that fits `{n}`, in HTML."""
        form: str = self._catalogue.ngettext(*message, n)
        return form.format(**self._written({"n": n, **values}, as_html=True))

    def _written(self, values: Mapping[str, str | int], *, as_html: bool) -> Mapping[str, str]:
        return {
            name: self.number(value) if isinstance(value, int) else escape(value, quote=False) if as_html else value
            for name, value in values.items()
        }

    @property
    def own_name(self) -> str:
        """What its speakers call the language."""
        name = self._locale.get_display_name(self._locale) or self.language
        return name.partition(" (")[0].capitalize()

    def number(self, n: float) -> str:
        return format_decimal(n, locale=self._locale, numbering_system="default")

    def percent(self, share: float) -> str:
        return format_percent(share, "#,##0%", locale=self._locale, numbering_system="default")

    def duration(self, seconds: float) -> str:
        """`90 seconds`, `2 minutes`."""
        return format_timedelta(timedelta(seconds=round(seconds)), threshold=_FEWEST_OF_A_UNIT, locale=self._locale)

    def ago(self, ms: int) -> str:
        """`3 hours ago`."""
        return format_timedelta(timedelta(milliseconds=-ms), add_direction=True, locale=self._locale)

    def moment(self, at_ms: int) -> str:
        """A time, ms since the epoch, in UTC."""
        when = datetime.fromtimestamp(at_ms / 1000, UTC)
        date = format_date(when, "long", locale=self._locale)
        return f"{date}, {format_time(when, 'HH:mm', locale=self._locale)} UTC"


@cache
def in_language(language: str) -> Words:
    """Words in one of `LANGUAGES`."""
    return Words(language)


def closest_language(code: str | None) -> str:
    """The one of our languages for an IETF tag as Telegram's `language_code` is; English where there is none."""
    return _BY_CODE.get((code or "").replace("_", "-").partition("-")[0].lower(), ENGLISH)


def words_for(language: str | None) -> Words:
    """Words in the language that a job or a person's choice names."""
    return in_language(language if language in LANGUAGES else ENGLISH)


def _catalogue(language: str) -> NullTranslations:
    if language == ENGLISH:
        return NullTranslations()
    compiled = io.BytesIO()
    with (LOCALES / language / "LC_MESSAGES" / "bot.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled)
