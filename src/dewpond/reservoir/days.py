"""Days and hours of a merchant: what was taken in, what was given back, who came for the first time.

Both are of the world's time and begin where Shanghai's do. The sums of hours, and those of all hours, are kept by the
statement that records touchpoints (`touchpoints.sql`), so they hold at every moment; a day is added up from its hours.
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


class _TakenEver(msgspec.Struct, frozen=True, kw_only=True):
    """Takings of one merchant, in one currency."""

    merchant_id: UUID
    currency: Currency
    payments: int
    minor: int
    refunds: int
    refunded_minor: int

    @property
    def takings(self) -> Takings:
        return Takings(
            currency=self.currency,
            payments=self.payments,
            minor=self.minor,
            refunds=self.refunds,
            refunded_minor=self.refunded_minor,
        )


class _Taken(_TakenEver, frozen=True, kw_only=True):
    """Takings of one day or hour."""

    begins_at: datetime


class _People(msgspec.Struct, frozen=True, kw_only=True):
    """How many people are in a merchant's pool."""

    merchant_id: UUID
    people: int


class _Arrived(msgspec.Struct, frozen=True, kw_only=True):
    """How many people a merchant first saw in one day or hour."""

    merchant_id: UUID
    begins_at: datetime
    new_contacts: int


def day_of(moment: datetime) -> date:
    """The day in Shanghai to which a moment belongs."""
    return moment.astimezone(SHANGHAI).date()


async def list_days(tx: Tx, merchant_id: UUID, since: date, until: date) -> list[Day]:
    """Every day from `since` to `until`, both included, the oldest first; also those on which nothing happened.

    At most `MOST_DAYS` of them: more, or fewer than one, is a `ValueError`.
    """
    return (await list_days_of(tx, [merchant_id], since, until))[merchant_id]


async def list_days_of(tx: Tx, merchant_ids: Sequence[UUID], since: date, until: date) -> dict[UUID, list[Day]]:
    """The same for each of these merchants."""
    count = (until - since).days + 1
    if not 1 <= count <= MOST_DAYS:
        raise ValueError(f"1 to {MOST_DAYS} days are answered at once, not {count}")
    days = [since + n * _DAY for n in range(count)]
    found = await _count(tx, merchant_ids, "day", [_begin(day) for day in days], _begin(until + _DAY))
    return {
        merchant_id: [
            Day(day=day, new_contacts=people, takings=takings)
            for day, (_, people, takings) in zip(days, counted, strict=True)
        ]
        for merchant_id, counted in found.items()
    }


async def list_hours_of(tx: Tx, merchant_ids: Sequence[UUID], day: date) -> dict[UUID, list[Hour]]:
    """The twenty-four hours of a day for each of these merchants, also those in which nothing happened."""
    hours = [_begin(day) + n * _HOUR for n in range(24)]
    found = await _count(tx, merchant_ids, "hour", hours, _begin(day + _DAY))
    return {
        merchant_id: [Hour(begins_at=hour, new_contacts=people, takings=takings) for hour, people, takings in counted]
        for merchant_id, counted in found.items()
    }


def sum_hours(day: date, hours: Sequence[Hour]) -> Day:
    """A day as its hours make it, for who has asked for them already."""
    by_currency: dict[Currency, Takings] = {}
    for one in (takings for hour in hours for takings in hour.takings):
        so_far = by_currency.get(one.currency, Takings(currency=one.currency))
        by_currency[one.currency] = Takings(
            currency=one.currency,
            payments=so_far.payments + one.payments,
            minor=so_far.minor + one.minor,
            refunds=so_far.refunds + one.refunds,
            refunded_minor=so_far.refunded_minor + one.refunded_minor,
        )
    return Day(
        day=day,
        new_contacts=sum(hour.new_contacts for hour in hours),
        takings=tuple(by_currency[currency] for currency in sorted(by_currency)),
    )


async def sum_day(tx: Tx, day: date) -> list[Takings]:
    """What all merchants together took in and gave back on a day, by currency."""
    return await tx.rows(Takings, sql.sum_day, begins_at=_begin(day), ends_at=_begin(day + _DAY))


async def count_people(tx: Tx, merchant_id: UUID) -> int:
    """How many people are in a merchant's pool."""
    return (await count_people_of(tx, [merchant_id]))[merchant_id]


async def count_people_of(tx: Tx, merchant_ids: Sequence[UUID]) -> dict[UUID, int]:
    """The same for each of these merchants."""
    found = await tx.rows(_People, sql.list_headcounts, merchant_ids=list(merchant_ids))
    return dict.fromkeys(merchant_ids, 0) | {one.merchant_id: one.people for one in found}


async def total_takings_of(tx: Tx, merchant_ids: Sequence[UUID]) -> dict[UUID, list[Takings]]:
    """What each of these merchants took in and gave back ever, by currency: one row for each, however old they are."""
    totals: dict[UUID, list[Takings]] = {merchant_id: [] for merchant_id in merchant_ids}
    for one in await tx.rows(_TakenEver, sql.list_totals, merchant_ids=list(merchant_ids)):
        totals[one.merchant_id].append(one.takings)
    return totals


async def _count(
    tx: Tx, merchant_ids: Sequence[UUID], unit: str, begins: Sequence[datetime], ends_at: datetime
) -> dict[UUID, list[tuple[datetime, int, tuple[Takings, ...]]]]:
    """People and takings of each merchant in each day or hour that begins at one of these moments."""
    given = {"merchant_ids": list(merchant_ids), "unit": unit, "begins_at": begins[0], "ends_at": ends_at}
    arrived = await tx.rows(_Arrived, sql.sum_arrivals, **given)
    people = {(one.merchant_id, one.begins_at): one.new_contacts for one in arrived}
    takings: dict[tuple[UUID, datetime], tuple[Takings, ...]] = {}
    for one in await tx.rows(_Taken, sql.sum_takings, **given):
        where = one.merchant_id, one.begins_at
        takings[where] = (*takings.get(where, ()), one.takings)
    return {
        merchant_id: [
            (begin, people.get((merchant_id, begin), 0), takings.get((merchant_id, begin), ())) for begin in begins
        ]
        for merchant_id in merchant_ids
    }


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), SHANGHAI)
