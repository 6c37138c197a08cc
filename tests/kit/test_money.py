"""Money: whole numbers, and not one unit lost."""

from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dewpond.kit.money import CNY, AmountInvalid, Currency, Money, places, round_half_up

JPY, KWD = Currency("JPY"), Currency("KWD")

currencies = st.sampled_from([CNY, JPY, KWD, Currency("USD")])
minors = st.integers(-(10**15), 10**15)
amounts = st.builds(Money, minors, currencies)


@given(amounts)
def test_what_is_written_reads_as_the_same(amount: Money) -> None:
    written, _, currency = str(amount).partition(" ")
    assert currency == amount.currency
    assert Money.parse(written, amount.currency) == amount
    assert Money.parse(written.replace(",", ""), amount.currency) == amount


@pytest.mark.parametrize(
    ("_case", "amount", "written"),
    [
        ("two places", Money(1800, CNY), "18.00 CNY"),
        ("less than one", Money(5, CNY), "0.05 CNY"),
        ("nothing", Money(0, CNY), "0.00 CNY"),
        ("owed", Money(-1250, CNY), "-12.50 CNY"),
        ("thousands", Money(123456789, CNY), "1,234,567.89 CNY"),
        ("no places", Money(1800, JPY), "1,800 JPY"),
        ("three places", Money(1800, KWD), "1.800 KWD"),
    ],
)
def test_amounts_are_written_as_their_currency_is(_case: str, amount: Money, written: str) -> None:
    assert str(amount) == written


@pytest.mark.parametrize(
    ("_case", "text", "currency", "minor"),
    [
        ("whole", "18", CNY, 1800),
        ("with decimals", "18.00", CNY, 1800),
        ("one decimal", "18.5", CNY, 1850),
        ("the smallest", "0.01", CNY, 1),
        ("more zeros than places", "18.000", CNY, 1800),
        ("in groups", "1,234,567.89", CNY, 123456789),
        ("with space around", " 18.00 ", CNY, 1800),
        ("owed", "-12.50", CNY, -1250),
        ("no places", "1800", JPY, 1800),
        ("three places", "0.001", KWD, 1),
        ("the most", "10000000000000", CNY, 10**15),
    ],
)
def test_amounts_are_read(_case: str, text: str, currency: Currency, minor: int) -> None:
    assert Money.parse(text, currency) == Money(minor, currency)


@pytest.mark.parametrize(
    ("_case", "text"),
    [
        ("nothing", ""),
        ("words", "eighteen"),
        ("more decimals than the currency has", "18.005"),
        ("a very small more", "1.000000000000000000000000000000001"),
        ("a decimal comma", "1,5"),
        ("groups of two", "1,23,456"),
        ("a point without decimals", "18."),
        ("decimals alone", ".5"),
        ("an exponent", "1e3"),
        ("an enormous exponent", "1e999999"),
        ("too much", "10000000000000.01"),
        ("thousands of digits", "9" * 5000),
        ("not a number", "nan"),
        ("infinite", "Infinity"),
        ("underscores", "1_000"),
        ("other digits", "１８"),
        ("two signs", "--1"),
        ("a currency sign", "¥18"),
        ("two numbers", "18 00"),
    ],
)
def test_what_is_no_amount_is_refused(_case: str, text: str) -> None:
    with pytest.raises(AmountInvalid) as refused:
        Money.parse(text)
    assert refused.value.facts == {"text": text}


def test_a_currency_without_small_money_has_no_decimals() -> None:
    with pytest.raises(AmountInvalid):
        Money.parse("18.5", JPY)


@given(st.text(max_size=30))
def test_any_text_is_an_amount_or_refused(text: str) -> None:
    with suppress(AmountInvalid):
        amount = Money.parse(text)
        assert Money.parse(str(amount).removesuffix(" CNY")) == amount


@given(st.integers(0, 10**15), st.integers(0, 10_000))
def test_a_share_is_rounded_once_and_half_up(minor: int, rate_bp: int) -> None:
    exact = Fraction(minor * rate_bp, 10_000)
    share = Money(minor, CNY).share(rate_bp).minor
    assert exact - Fraction(1, 2) < share <= exact + Fraction(1, 2)


@pytest.mark.parametrize(
    ("_case", "minor", "rate_bp", "share"),
    [
        ("exact", 10_000, 60, 60),
        ("just below a half", 1800, 60, 11),  # 10.8
        ("a half goes up", 250, 60, 2),  # 1.5
        ("below a half goes down", 240, 60, 1),  # 1.44
        ("too little for a fee", 83, 60, 0),  # 0.498
        ("nothing of it", 1800, 0, 0),
        ("all of it", 1800, 10_000, 1800),
    ],
)
def test_shares(_case: str, minor: int, rate_bp: int, share: int) -> None:
    assert Money(minor, CNY).share(rate_bp) == Money(share, CNY)


@pytest.mark.parametrize(("numerator", "denominator"), [(-1, 10), (1, 0), (1, -10)])
def test_rounding_is_for_whole_numbers_that_are_not_owed(numerator: int, denominator: int) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        round_half_up(numerator, denominator)


def test_currencies_never_mix() -> None:
    assert Money(5, CNY) + Money(7, CNY) - Money(2, CNY) == Money(10, CNY)
    with pytest.raises(ValueError, match="cannot be added"):
        Money(5, CNY) + Money(5, JPY)
    with pytest.raises(ValueError, match="cannot be added"):
        Money(5, CNY) - Money(5, JPY)
    assert Money(5, CNY) != Money(5, JPY)


def test_most_currencies_have_two_places() -> None:
    assert [places(currency) for currency in (CNY, Currency("EUR"), JPY, KWD)] == [2, 2, 0, 3]
