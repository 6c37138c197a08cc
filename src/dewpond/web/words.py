"""Words, money and time, in the visitor's language. Amounts and dates are written here and nowhere else.

Sentences are looked up in gettext catalogues: the English sentence is its own key, Chinese lies in
`locales/zh_CN/LC_MESSAGES/dewpond.po`. The language of a request is set once, by the site, before anything is written.
"""

import gettext as gettext_module
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Final

from babel import Locale, negotiate_locale
from babel.dates import format_date, format_datetime, format_skeleton, format_time, get_datetime_format
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal

from dewpond.kit.clock import SHANGHAI
from dewpond.kit.money import CNY, Money, places

#: The zone that every time on a page is told in, for modules that tell one themselves.
ZONE: Final = str(SHANGHAI)

_LOCALES: Final = Path(__file__).parent / "locales"


class Language(StrEnum):
    """What pages are written in; the value is the HTML `lang`."""

    CHINESE = "zh-CN"
    ENGLISH = "en"

    @property
    def locale(self) -> Locale:
        return _locale(self)

    @property
    def own_name(self) -> str:
        """What it calls itself."""
        return "中文" if self is Language.CHINESE else "English"


@cache
def _locale(language: Language) -> Locale:
    return Locale.parse("zh_CN") if language is Language.CHINESE else Locale.parse("en")


_OF_COOKIE: Final[Mapping[str, Language]] = {language.value: language for language in Language}

_language: ContextVar[Language] = ContextVar("language", default=Language.ENGLISH)


def pick_language(cookie: str | None, accepted: str) -> Language:
    """What the visitor chose, else what the browser would like, else English."""
    return _OF_COOKIE.get(cookie or "") or _wanted(accepted[:500])


@lru_cache(maxsize=1000)
def _wanted(accepted: str) -> Language:
    wishes: list[tuple[float, str]] = []
    for part in accepted.split(","):
        name, _, weight = part.strip().partition(";q=")
        try:
            worth = float(weight or 1)
        except ValueError:
            continue
        if worth > 0:  # 0 says "anything but this", and nothing is greater or less than what is no number
            wishes.append((worth, name.strip().replace("-", "_")))
    wanted = [name for _, name in sorted(wishes, key=lambda wish: -wish[0])]
    found = negotiate_locale([_spelled(name) for name in wanted], ["zh", "en"])
    return Language.CHINESE if found == "zh" else Language.ENGLISH


def _spelled(name: str) -> str:
    """A browser's language without its region: `zh_CN`, `zh_Hans_CN` and `zh` are all Chinese to us."""
    return name.partition("_")[0].lower()


def speak(language: Language) -> None:
    """Write everything of this request in a language."""
    _language.set(language)


def language() -> Language:
    """What this request is written in."""
    return _language.get()


@cache
def _catalogue(spoken: Language) -> gettext_module.NullTranslations:
    if spoken is Language.ENGLISH:
        return gettext_module.NullTranslations()
    path = _LOCALES / "zh_CN" / "LC_MESSAGES" / "dewpond.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale=spoken.locale)
    compiled = BytesIO()
    write_mo(compiled, catalogue)
    compiled.seek(0)
    return gettext_module.GNUTranslations(compiled)


def gettext(sentence: str) -> str:
    """A sentence in this request's language."""
    return _catalogue(language()).gettext(sentence) if sentence else ""


def ngettext(one: str, many: str, number: int) -> str:
    """A sentence about a number of things."""
    return _catalogue(language()).ngettext(one, many, number)


def marked(sentence: str) -> str:
    """Mark a sentence for the catalogue where it stands; it is translated where it is shown."""
    return sentence


def warm_up() -> None:
    """Read the catalogues and what babel knows of each language's money and dates."""
    spoken, at = language(), datetime(2026, 1, 2, tzinfo=SHANGHAI)
    for each in Language:
        speak(each)
        gettext("Pay")
        money(Money(1, CNY))
        percent(1)
        short_day(at.date())
        for write in (moment, minute, day, clock_time):
            write(at)
    speak(spoken)


# --- money, numbers, time ---------------------------------------------------------------------------------------------


def money(amount: Money) -> str:
    """An amount as people write it: ¥18.00, and with the sign of a minus where it is less than nothing."""
    return _money(amount, language())


@lru_cache(maxsize=4096)  # here and below: babel takes its time, and lists and charts say the same again and again
def _money(amount: Money, spoken: Language) -> str:
    worth = Decimal(amount.minor).scaleb(-places(amount.currency))
    # Everybody who pays in yuan knows its sign; babel's English would write CN¥.
    return format_currency(worth, amount.currency, locale=spoken.locale).replace("CN¥", "¥").replace("-", "−")


def plain_amount(amount: Money) -> str:
    """An amount for an input field: 18.00, in every language."""
    worth = Decimal(amount.minor).scaleb(-places(amount.currency))
    return f"{worth:.{places(amount.currency)}f}"


def number(value: int) -> str:
    """A whole number with its groups."""
    return _number(value, language())


@lru_cache(maxsize=1024)
def _number(value: int, spoken: Language) -> str:
    return format_decimal(value, locale=spoken.locale)


def spelled_number(person_number: str) -> str:
    """A person's number as it is read out at a desk and typed there: 302 847 1956."""
    return f"{person_number[:3]} {person_number[3:6]} {person_number[6:]}"


def percent(rate_bp: int) -> str:
    """A rate in basis points: 60 is 0.6%."""
    return f"{format_decimal(Decimal(rate_bp).scaleb(-2), locale=language().locale)}%"


def countdown(seconds: int) -> str:
    """What is left of some minutes: 1:59."""
    return f"{seconds // 60}:{seconds % 60:02}"


def moment(at: datetime | None) -> str:
    """Day and time, in the world's time zone."""
    return "—" if at is None else format_datetime(at, "medium", tzinfo=SHANGHAI, locale=language().locale)


def real(time: str) -> str:
    """A time by the wall clock, told apart from the world's; for pages of a sandbox, whose clock may be elsewhere."""
    return gettext("%(time)s (real time)") % {"time": time}


def time_left(left: timedelta) -> str:
    """How long something still lasts, to the minute that has begun: 23 h 59 min."""
    hours, minutes = divmod(max(1, -(-left // timedelta(minutes=1))), 60)
    if not hours:
        return gettext("%(minutes)s min") % {"minutes": minutes}
    return gettext("%(hours)s h %(minutes)s min") % {"hours": hours, "minutes": minutes}


def minute(at: datetime | None) -> str:
    """Day and time in lists, where nobody counts seconds."""
    return "—" if at is None else _minute(at.replace(second=0, microsecond=0), language())


@lru_cache(maxsize=1024)
def _minute(at: datetime, spoken: Language) -> str:
    pattern = str(get_datetime_format("medium", locale=spoken.locale))
    here = at.astimezone(SHANGHAI)
    told = format_time(here, "short", tzinfo=SHANGHAI, locale=spoken.locale)
    return pattern.format(told, format_date(here.date(), "medium", locale=spoken.locale))


def day(at: datetime | date | None) -> str:
    """A day, in the world's time zone."""
    if at is None:
        return "—"
    here = at.astimezone(SHANGHAI).date() if isinstance(at, datetime) else at
    return format_date(here, "medium", locale=language().locale)


def short_day(at: date) -> str:
    """A day of these weeks: Nov 22."""
    return _short_day(at, language())


@lru_cache(maxsize=256)
def _short_day(at: date, spoken: Language) -> str:
    return format_skeleton("MMMd", at, locale=spoken.locale)


def clock_time(at: datetime | None) -> str:
    """Hour and minute, in the world's time zone."""
    return "—" if at is None else format_time(at, "short", tzinfo=SHANGHAI, locale=language().locale)


def hour(at: datetime) -> str:
    """A full hour, for a chart of a day: 6 AM."""
    return _hour(at, language())


@lru_cache(maxsize=256)
def _hour(at: datetime, spoken: Language) -> str:
    if spoken is Language.CHINESE:
        return format_time(at, "short", tzinfo=SHANGHAI, locale=spoken.locale)
    return format_skeleton("h", at, tzinfo=SHANGHAI, locale=spoken.locale)


def machine_time(at: datetime) -> str:
    """For a `datetime` attribute."""
    return at.astimezone(SHANGHAI).isoformat(timespec="seconds")
