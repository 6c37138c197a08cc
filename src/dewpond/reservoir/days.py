"""Days and hours of a merchant: what was taken in, what was given back, who came for the first time.

Both are of the world's time and begin where Shanghai's do. The sums are kept by the statement that records touchpoints
(`touchpoints.sql`), so they hold at every moment; a day is added up from its hours.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Final
from uuid import UUID

import msgspec

from dewpond.kit.clock import SHANGHAI
from dewpond.kit.db import Tx, queries
from dewpond.kit.money import Currency, Money

sql = queries(__file__)

#: The longest stretch of days that is answered at once: a year with its leap day, and the day a year before.
MOST_DAYS: Final = 367

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)


class Takings(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken in and given back in one currency."""

    currency: Currency
    payments: int = 0
    #: Before refunds.
    minor: int = 0
    #: By when they were given, not by when their payments were made.
    refunds: int = 0
    refunded_minor: int = 0

    @property
    def taken(self) -> Money:
        return Money(self.minor, self.currency)

    @property
    def refunded(self) -> Money:
        return Money(self.refunded_minor, self.currency)

    @property
    def net(self) -> Money:
        """Less than nothing where more was given back than taken in."""
        return self.taken - self.refunded


class _Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a stretch of time."""

    #: People who were seen for the first time.
    new_contacts: int = 0
    #: One for each currency that moved, in the order of their names.
    takings: tuple[Takings, ...] = ()

    def takings_in(self, currency: Currency) -> Takings:
        """In this currency; nothing, where nothing moved."""
        return next((one for one in self.takings if one.currency == currency), Takings(currency=currency))


class Day(_Counted, frozen=True, kw_only=True):
    """A merchant's day in Shanghai."""

    day: date


class Hour(_Counted, frozen=True, kw_only=True):
    """An hour of it."""

    begins_at: datetime


class _Taken(msgspec.Struct, frozen=True, kw_only=True):
    """Takings of one day or hour, in one currency."""

    begins_at: datetime
    currency: Currency
    payments: int
    minor: int
    refunds: int
    refunded_minor: int


class _Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """How many people were first seen in one day or hour."""

    begins_at: datetime
    new_contacts: int


def day_of(moment: datetime) -> date:
    """The day in Shanghai to which a moment belongs."""
    return moment.astimezone(SHANGHAI).date()


async def get_day(tx: Tx, merchant_id: UUID, day: date) -> Day:
    """One day of a merchant, also one on which nothing happened."""
    return (await list_days(tx, merchant_id, day, day))[0]


async def list_days(tx: Tx, merchant_id: UUID, since: date, until: date) -> list[Day]:
    """Every day from `since` to `until`, both included, the oldest first; also those on which nothing happened.

    At most `MOST_DAYS` of them: more, or fewer than one, is a `ValueError`.
    """
    count = (until - since).days + 1
    if not 1 <= count <= MOST_DAYS:
        raise ValueError(f"1 to {MOST_DAYS} days are answered at once, not {count}")
    days = [since + n * _DAY for n in range(count)]
    found = await _count(tx, merchant_id, "day", [_begin(day) for day in days], _begin(until + _DAY))
    return [
        Day(day=day, new_contacts=people, takings=takings)
        for day, (_, people, takings) in zip(days, found, strict=True)
    ]


async def list_hours(tx: Tx, merchant_id: UUID, day: date) -> list[Hour]:
    """The twenty-four hours of a day, also those in which nothing happened."""
    hours = [_begin(day) + n * _HOUR for n in range(24)]
    found = await _count(tx, merchant_id, "hour", hours, _begin(day + _DAY))
    return [Hour(begins_at=hour, new_contacts=people, takings=takings) for hour, people, takings in found]


async def sum_day(tx: Tx, day: date) -> list[Takings]:
    """What all merchants together took in and gave back on a day, by currency."""
    return await tx.rows(Takings, sql.sum_day, begins_at=_begin(day), ends_at=_begin(day + _DAY))


async def count_people(tx: Tx, merchant_id: UUID) -> int:
    """How many people are in a merchant's pool: a sum over the hours in which somebody came, not over the people."""
    return int(await tx.value(sql.count_people, merchant_id=merchant_id))


async def total_takings(tx: Tx, merchant_id: UUID) -> list[Takings]:
    """What a merchant took in and gave back ever, by currency: a sum over hours, not over people or payments."""
    return await tx.rows(Takings, sql.sum_merchant, merchant_id=merchant_id)


async def _count(
    tx: Tx, merchant_id: UUID, unit: str, begins: Sequence[datetime], ends_at: datetime
) -> list[tuple[datetime, int, tuple[Takings, ...]]]:
    """People and takings of each day or hour that begins at one of these moments."""
    given = {"merchant_id": merchant_id, "unit": unit, "begins_at": begins[0], "ends_at": ends_at}
    people = {one.begins_at: one.new_contacts for one in await tx.rows(_Arrived, sql.sum_arrivals, **given)}
    takings: dict[datetime, list[Takings]] = {}
    for one in await tx.rows(_Taken, sql.sum_takings, **given):
        takings.setdefault(one.begins_at, []).append(
            Takings(
                currency=one.currency,
                payments=one.payments,
                minor=one.minor,
                refunds=one.refunds,
                refunded_minor=one.refunded_minor,
            )
        )
    return [(begin, people.get(begin, 0), tuple(takings.get(begin, ()))) for begin in begins]


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), SHANGHAI)
