"""Money is a whole number of its currency's smallest unit; amount and currency never part."""

import re
from decimal import Decimal
from typing import Final, NewType, Self

import msgspec

from dewpond.kit.failures import Failure, Kind

Currency = NewType("Currency", str)

CNY = Currency("CNY")

#: How many decimal places the currency is written with (ISO 4217); the few that matter where it is not two.
_PLACES = {"JPY": 0, "KRW": 0, "VND": 0, "CLP": 0, "BHD": 3, "KWD": 3, "JOD": 3, "OMR": 3, "TND": 3}

#: What people write: whole digits, alone or in groups of three, and a decimal part.
_WRITTEN: Final = re.compile(r"(-?)(\d{1,16}|\d{1,3}(?:,\d{3}){1,5})(?:\.(\d{1,16}))?", re.ASCII)


class AmountInvalid(Failure):
    """That is not an amount of money: a positive number with no more decimals than the currency has."""

    code, kind = "amount_invalid", Kind.INVALID


def places(currency: Currency) -> int:
    """How many decimal places amounts in `currency` are written with."""
    return _PLACES.get(currency, 2)


class Money(msgspec.Struct, frozen=True, order=False):
    """A whole number of the currency's smallest unit: 12.50 yuan is `Money(1250, CNY)`."""

    minor: int
    currency: Currency

    @classmethod
    def parse(cls, text: str, currency: Currency = CNY) -> Self:
        """Read what a person writes ("18", "18.00"); refuses more decimals than the currency has, and non-numbers."""
        written = _WRITTEN.fullmatch(text.strip())
        if written is None:
            raise AmountInvalid(text=text)
        sign, whole, decimals = written[1], written[2].replace(",", ""), (written[3] or "").rstrip("0")
        minor = int(whole + decimals.ljust(places(currency), "0"))
        if len(decimals) > places(currency) or minor > 10**15:
            raise AmountInvalid(text=text)
        return cls(-minor if sign else minor, currency)

    def __add__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.minor + other.minor, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same(other)
        return Money(self.minor - other.minor, self.currency)

    def __str__(self) -> str:
        """The one place where amounts are written out: `18.00 CNY`."""
        digits = places(self.currency)
        return f"{Decimal(self.minor).scaleb(-digits):,.{digits}f} {self.currency}"

    def _same(self, other: "Money") -> None:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} cannot be added")

    def share(self, rate_bp: int) -> "Money":
        """The part at a rate in basis points (1/10 000), rounded half up once."""
        return Money(round_half_up(self.minor * rate_bp, 10_000), self.currency)


def round_half_up(numerator: int, denominator: int) -> int:
    """`numerator / denominator` of non-negative whole numbers, rounded half up, without a float."""
    if numerator < 0 or denominator <= 0:
        raise ValueError("round_half_up takes a non-negative numerator and a positive denominator")
    return (2 * numerator + denominator) // (2 * denominator)
