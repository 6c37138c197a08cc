"""Holdings: what an account, or a whole group of them, holds, as money."""

from collections.abc import Iterable, Sequence

import msgspec

from dewpond.kit.money import Currency, Money
from dewpond.ledger import AccountCode, Balance, CodeTotal


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One account of somebody."""

    code: AccountCode
    posted: Money
    held: Money
    available: Money


def holdings(balances: Iterable[Balance]) -> list[Holding]:
    """The same with currencies."""
    return [
        Holding(
            code=one.code,
            posted=Money(one.posted, one.currency),
            held=Money(one.held, one.currency),
            available=Money(one.available, one.currency),
        )
        for one in balances
    ]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts of one place of the chart, in one currency."""

    code: AccountCode
    accounts: int
    posted: Money
    held: Money


class Book(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts of one currency."""

    currency: Currency
    #: In the order of the chart.
    groups: tuple[Group, ...]
    #: Zero in a sound book.
    total: Money


def books(totals: Sequence[CodeTotal]) -> list[Book]:
    """The account groups, currency by currency."""
    found = []
    for currency in dict.fromkeys(total.currency for total in totals):
        own = {total.code: total for total in totals if total.currency == currency}
        groups = tuple(
            Group(
                code=code,
                accounts=own[code].accounts,
                posted=Money(own[code].posted, currency),
                held=Money(own[code].held, currency),
            )
            for code in AccountCode
            if code in own
        )
        total = Money(sum(group.posted.minor for group in groups), currency)
        found.append(Book(currency=currency, groups=groups, total=total))
    return found
