"""Attempts to tell a merchant's server something: how they ended, in words."""

from collections.abc import Mapping
from typing import Final

from dewpond.openplatform import DeliveryAttempt
from dewpond.web.words import gettext, marked

#: How an attempt may end, as it is written down; and in a person's words.
_OUTCOMES: Final[Mapping[str, str]] = {
    "delivered": marked("Delivered"),
    "timeout": marked("No answer within five seconds"),
    "connection refused": marked("No server is listening there"),
    "connection reset": marked("The connection was cut off"),
    "closed without an answer": marked("Closed without an answer"),
    "name not found": marked("There is no such host name"),
    "no route to the address": marked("That address cannot be reached"),
    "TLS handshake failed": marked("The https handshake failed"),
    "the answer is not HTTP/1.1": marked("The answer was not HTTP"),
}
_CERTIFICATE: Final = "TLS certificate not accepted: "


def outcome_of(attempt: DeliveryAttempt) -> str:
    """How an attempt ended, in the visitor's language; why exactly is told as it was written down."""
    if attempt.outcome in _OUTCOMES:
        return gettext(_OUTCOMES[attempt.outcome])
    if attempt.http_status is not None:
        said = (
            gettext("Answered %(status)s with code FAIL")
            if "FAIL" in attempt.outcome
            else gettext("Answered %(status)s")
        )
        return said % {"status": attempt.http_status}
    if attempt.outcome.startswith(_CERTIFICATE):
        return gettext("The https certificate was not accepted: %(why)s") % {
            "why": attempt.outcome[len(_CERTIFICATE) :]
        }
    return gettext("That address may not be called: %(why)s") % {"why": attempt.outcome}
