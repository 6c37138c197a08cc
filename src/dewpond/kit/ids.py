"""Ids: uuid columns inside (version 7, wall time in the high bits, so lists sort by age), prefixed text outside."""

import hashlib
import uuid
from typing import Final

import uuid_utils.compat

from dewpond.kit.failures import Failure, Kind

#: The digits of the text form: no vowels that make words, no letters that look like digits.
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
_LENGTH: Final = 26
#: Two digits at a time are written in half the time.
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


class IdInvalid(Failure):
    """That is not one of our ids."""

    code, kind = "id_invalid", Kind.INVALID


def new_id() -> uuid.UUID:
    """A fresh UUIDv7 by this process's wall clock."""
    return uuid_utils.compat.uuid7()


def derived_id(*parts: object) -> uuid.UUID:
    """The one id that belongs to these parts, the same in every process and every time (RFC 9562, version 8).

    For things that are found by what they are rather than by a look-up: a ledger account by holder, code and
    currency, a ledger key by the payment it pays.
    """
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()
    number = int.from_bytes(digest, "big")
    number = number & ~(0xF << 76) | (0x8 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return uuid.UUID(int=number)


def derived_beside(parent: uuid.UUID, *parts: object) -> uuid.UUID:
    """The one id that belongs to `parent` and these parts, and that sorts where `parent` does.

    For keys of large tables: rows that are made together lie together in the index, as with any UUIDv7.
    """
    return uuid.UUID(int=(parent.int >> 80 << 80) | (derived_id(parent, *parts).int & ((1 << 80) - 1)))


def to_text(prefix: str, value: uuid.UUID) -> str:
    """The form people and wires see: `pay_01jd…`."""
    number = value.int
    return f"{prefix}_{''.join([_PAIRS[number >> shift & 1023] for shift in range(5 * _LENGTH - 10, -1, -10)])}"


def from_text(prefix: str, text: str) -> uuid.UUID:
    """Read the text form back; refuses another prefix, another length and foreign letters with `IdInvalid`."""
    head, _, tail = text.partition("_")
    if head != prefix or len(tail) != _LENGTH or not set(tail) <= _VALUES.keys():
        raise IdInvalid(id=text)
    number = 0
    for letter in tail:
        number = number << 5 | _VALUES[letter]
    if number >> 128:
        raise IdInvalid(id=text)
    return uuid.UUID(int=number)
