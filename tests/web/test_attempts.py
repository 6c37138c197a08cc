"""How attempts end, in words: one table for consoles and desk."""

from datetime import UTC, datetime

import msgspec
import pytest

from dewpond.kit.ids import new_id
from dewpond.ledger import TrialBalance
from dewpond.openplatform import DeliveryAttempt, DeliveryId
from dewpond.web.attempts import outcome_of
from dewpond.web.desk import ledger
from dewpond.web.words import Language, gettext, speak


def attempt(outcome: str, http_status: int | None = None) -> DeliveryAttempt:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    return DeliveryAttempt(
        merchant_id=new_id(),
        delivery_id=DeliveryId(new_id()),
        id=new_id(),
        number=1,
        attempted_at=at,
        recorded_at=at,
        elapsed_ms=1,
        http_status=http_status,
        outcome=outcome,
        answer=None,
    )


@pytest.mark.parametrize(
    ("_case", "outcome", "http_status", "english"),
    [
        ("taken", "delivered", 204, "Delivered"),
        ("another status", "answered 500", 500, "Answered 500"),
        ("a body that says no", "answered 200 with code FAIL", 200, "Answered 200 with code FAIL"),
        (
            "a certificate",
            "TLS certificate not accepted: certificate has expired",
            None,
            "The https certificate was not accepted: certificate has expired",
        ),
        ("an address of ours", "loopback, private", None, "That address may not be called: loopback, private"),
    ],
)
def test_an_end_is_told_in_words(_case: str, outcome: str, http_status: int | None, english: str) -> None:
    speak(Language.ENGLISH)
    assert outcome_of(attempt(outcome, http_status)) == english


@pytest.mark.parametrize("outcome", ["timeout", "connection refused", "name not found", "TLS handshake failed"])
def test_no_end_is_told_in_english_to_who_reads_chinese(outcome: str) -> None:
    speak(Language.CHINESE)
    try:
        assert not outcome_of(attempt(outcome)).replace("https", "").replace("HTTP", "").strip().isascii()
    finally:
        speak(Language.ENGLISH)


def test_every_fault_of_the_books_is_told_in_words() -> None:
    faults = next(field.type for field in msgspec.structs.fields(TrialBalance) if field.name == "faults")
    assert set(ledger._FAULTS) == set(faults.__struct_fields__)
    assert all(gettext(said) for said in ledger._FAULTS.values())
