"""The payment PIN: six digits, kept as a keyed verification value.

As card systems do: HMAC-SHA256 under a key that is not in the database, with a salt per person. Six digits cannot be
protected by a slow hash (a million tries are a million tries); they are protected by the key and by counting. A try is
spent before it is compared, five tries lock, and the count is in the database, so no number of processes helps.
"""

import hmac
import secrets as random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Self
from uuid import UUID

import asyncpg
import msgspec

from dewpond.identity.people import PersonId, PersonNotFound
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import to_text
from dewpond.kit.secrets import MasterKeys

sql = queries(__file__)

TRIES: Final = 5
LOCK_OUT: Final = timedelta(hours=24)


class PinInvalid(Failure):
    """A PIN is six digits."""

    code, kind = "pin_invalid", Kind.INVALID


class PinNotSet(Failure):
    """This person has no payment PIN yet."""

    code, kind = "pin_not_set", Kind.FORBIDDEN


class PinWrong(Failure):
    """That is not the PIN."""

    code, kind = "pin_wrong", Kind.FORBIDDEN


class PinLocked(Failure):
    """Too many wrong PINs: payment is locked for 24 hours of real time, or until the PIN is set anew."""

    code, kind = "pin_locked", Kind.FORBIDDEN


class PinState(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told of a PIN."""

    set_at: datetime
    #: Wrong ones since the last right one.
    tries: int
    locked_until: datetime | None

    def is_locked(self, wall_now: datetime) -> bool:
        return self.locked_until is not None and wall_now < self.locked_until


class _Pin(msgspec.Struct, kw_only=True):
    """A row under lock; tries are counted on it until they are written back."""

    person_id: PersonId
    key_id: str
    salt: bytes
    value: bytes
    tries: int
    last_try: UUID | None
    locked_until: datetime | None


async def set_pin(tx: Tx, person_id: PersonId, pin: str, *, secrets: MasterKeys, wall_now: datetime) -> None:
    """Set or replace a person's PIN and forget earlier wrong tries. Refuses anything but six digits."""
    if len(pin) != 6 or not pin.isascii() or not pin.isdigit():
        raise PinInvalid
    salt = random.token_bytes(16)
    key_id = secrets.current_id
    try:
        await tx.run(
            sql.set_pin,
            person_id=person_id,
            key_id=key_id,
            salt=salt,
            value=_value(pin, salt, secrets.derive("pin", key_id)),
            set_at=wall_now,
        )
    except asyncpg.ForeignKeyViolationError:
        raise PersonNotFound(person=to_text("per", person_id)) from None


async def has_pin(tx: Tx, person_id: PersonId) -> bool:
    """Whether this person has a payment PIN; one that is locked is one too."""
    return bool(await tx.value(sql.has_pin, person_id=person_id))


async def find_pin_state(tx: Tx, person_id: PersonId) -> PinState | None:
    """How a person's PIN stands; None where they have none."""
    return await tx.row(PinState, sql.find_pin_state, person_id=person_id)


class PinTries:
    """The PINs of the people of one batch, under lock; every try counts whatever becomes of the payment.

    tries = await PinTries.lock(tx, payer_ids, secrets=secrets)
    refusal = tries.spend(payer_id, pin, wall_now, try_id=…)     # None if it was the right one
    await tries.save(tx)
    """

    def __init__(self, pins: Iterable[_Pin], secrets: MasterKeys) -> None:
        self._pins = {pin.person_id: pin for pin in pins}
        self._secrets = secrets
        self._before = {pin.person_id: (pin.tries, pin.locked_until) for pin in self._pins.values()}

    @classmethod
    async def lock(cls, tx: Tx, person_ids: Sequence[PersonId], *, secrets: MasterKeys) -> Self:
        """Lock these people's PIN rows, in the house's order."""
        return cls(await tx.rows(_Pin, sql.lock_pins, person_ids=list(set(person_ids))), secrets)

    def spend(self, person_id: PersonId, pin: str, wall_now: datetime, *, try_id: UUID) -> Failure | None:
        """Spend one try and compare; the refusal if there is one. The right PIN clears earlier wrong ones.

        `try_id` is ours, one per yes of a person: where a commit was lost and the same yes is asked again, its try is
        not spent again.
        """
        held = self._pins.get(person_id)
        if held is None:
            return PinNotSet()
        if held.locked_until is not None:
            if wall_now < held.locked_until:
                return PinLocked(until=held.locked_until.isoformat(timespec="seconds"))
            held.tries, held.locked_until = 0, None
        if held.last_try != try_id:
            held.tries, held.last_try = held.tries + 1, try_id
        if held.tries > TRIES:  # the count was full and never locked: cannot be, and must not be a way in
            raise ValueError("a PIN with five tries spent is not locked")
        expected = _value(pin, held.salt, self._secrets.derive("pin", held.key_id))
        if hmac.compare_digest(expected, held.value):
            held.tries = 0
            return None
        if held.tries == TRIES:
            held.locked_until = wall_now + LOCK_OUT
            return PinLocked(until=held.locked_until.isoformat(timespec="seconds"))
        return PinWrong(tries_left=TRIES - held.tries)

    def locked(self, person_id: PersonId, wall_now: datetime) -> PinLocked | None:
        """The refusal if this person's PIN is locked; spends nothing."""
        held = self._pins.get(person_id)
        if held is None or held.locked_until is None or held.locked_until <= wall_now:
            return None
        return PinLocked(until=held.locked_until.isoformat(timespec="seconds"))

    async def save(self, tx: Tx) -> None:
        """Write down the counts that have changed; called once, before the batch commits."""
        rows = [
            (pin.person_id, pin.tries, pin.last_try, pin.locked_until)
            for pin in self._pins.values()
            if self._before[pin.person_id] != (pin.tries, pin.locked_until)
        ]
        if rows:
            person_ids, tries, last_tries, locked = columns(rows, 4)
            await tx.run(
                sql.record_tries, person_ids=person_ids, tries=tries, last_tries=last_tries, locked_until=locked
            )


def _value(pin: str, salt: bytes, key: bytes) -> bytes:
    return hmac.digest(key, salt + pin.encode(), "sha256")
