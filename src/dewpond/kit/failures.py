"""Refusals: what the house answers when it will not do a thing.

A `Failure` is an answer, not a fault: its docstring is the message for people, `code` is public and stable, `kind`
says which family of answer it is without naming any face's words, and facts ride along. Each face translates in one
table. Wrong calls by our own code are `ValueError` or `assert`, never a `Failure`.
"""

from enum import StrEnum
from inspect import cleandoc
from typing import Any, ClassVar


class Kind(StrEnum):
    """Which family of answer a refusal is; a face chooses its own words by it where it has no better."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    #: This one caller has asked too often.
    TOO_MANY = "too_many"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"


class Failure(Exception):
    """Refused."""

    code: ClassVar[str] = "refused"
    kind: ClassVar[Kind] = Kind.INVALID

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The sentence for a person: the class's docstring."""
        return cleandoc(self.__doc__ or self.code)

    def __str__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        return f"{self.message} ({told})" if told else self.message


class Busy(Failure):
    """Too much is waiting already; try again in a moment."""

    code, kind = "busy", Kind.BUSY


class OutcomeUnknown(Failure):
    """The connection was lost while the outcome was being written; ask for the state before trying again."""

    code, kind = "outcome_unknown", Kind.UNAVAILABLE
