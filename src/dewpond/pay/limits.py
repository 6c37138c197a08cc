"""Limits: how much a person lets be paid at once, in a day, and without a proof. Kept per currency.

A day is a day of the world in Shanghai, and a refund does not give it back. A batch takes the limits of its people
under lock before it adds up what they have paid, so that two phones of one person cannot exceed them together.

A device on which somebody signed in a moment ago has a limit of its own, which its person cannot widen: whoever has
talked somebody out of their sign-in shall not leave with the wallet before the next day. Every sign-in makes a device
new, also one on a phone that was known before: a session tells browsers apart, nothing tells phones.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from dewpond.identity import PersonId, lock_people
from dewpond.kit.clock import SHANGHAI, Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.money import CNY, Currency, Money
from dewpond.pay.proofs import ProofMissing

sql = queries(__file__)

#: So many times the small sum may be paid in a day without a proof; then one is asked again.
SMALL_SUMS_A_DAY: Final = 5
#: So long after a sign-in, in wall time, a device is new; a day is what its owner has to notice it.
NEW_DEVICE: Final = timedelta(hours=24)
#: With a new device this much is paid in a day, in minor units, whatever was paid that day with other devices included:
#: room for what people buy by the way, and a loss that can be borne.
NEW_DEVICE_MINOR: Final = 100_000
_MOST_MINOR: Final = 10**15

#: Whose day, in which currency, begun when.
_DayKey: TypeAlias = tuple[PersonId, Currency, datetime]


class LimitKind(StrEnum):
    """Which limit stands in the way."""

    PER_PAYMENT = "per_payment"
    PER_DAY = "per_day"
    NEW_DEVICE = "new_device"


class AboveLimit(Failure):
    """This is more than this person lets be paid at once or in a day."""

    code, kind = "above_limit", Kind.FORBIDDEN


class DeviceNew(AboveLimit):
    """On its first day a new device pays only so much in a day."""

    code, kind = "device_new", Kind.FORBIDDEN


class LimitInvalid(Failure):
    """A limit is a positive amount, or none; what is paid without a proof is at least nothing."""

    code, kind = "limit_invalid", Kind.INVALID


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a person allows in one currency; None is no limit."""

    person_id: PersonId
    currency: Currency = CNY
    per_payment_minor: int | None = None
    per_day_minor: int | None = None
    #: Up to so much is paid without a proof; 0 is never.
    without_pin_minor: int = 0

    def is_wider_than(self, held: "Limits") -> bool:
        """Whether more could be paid under these than under `held`: then a face asks for a fresh proof first."""
        return (
            _most(self.per_payment_minor) > _most(held.per_payment_minor)
            or _most(self.per_day_minor) > _most(held.per_day_minor)
            or self.without_pin_minor > held.without_pin_minor
        )


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """What a person has paid since a day began."""

    person_id: PersonId
    currency: Currency
    since: datetime
    paid_minor: int
    without_pin_minor: int


class Outlay(msgspec.Struct, frozen=True, kw_only=True):
    """One payment as limits look at it; `at` is world time."""

    person_id: PersonId
    amount: Money
    at: datetime
    is_proven: bool
    #: Until when the device it is paid with is new, in wall time; None where it is known, or where there is none.
    new_until: datetime | None = None


async def get_limits(tx: Tx, person_id: UUID, currency: Currency = CNY) -> Limits:
    """What a person allows; none set is no limits, and nothing without a proof."""
    held = await tx.row(Limits, sql.get_limits, person_id=person_id, currency=currency)
    return held or Limits(person_id=PersonId(person_id), currency=currency)


async def lock_limits(tx: Tx, person_id: UUID, currency: Currency = CNY) -> Limits:
    """What a person allows, which nobody else changes until this transaction ends: for who compares before setting."""
    held = await tx.rows(Limits, sql.lock_limits, person_ids=[person_id])
    found = (limits for limits in held if limits.currency == currency)
    return next(found, Limits(person_id=PersonId(person_id), currency=currency))


async def set_limits(tx: Tx, limits: Limits, *, now: Now) -> None:
    """Let these hold from the next confirmation on. Refuses nonsense with `LimitInvalid`.

    Who may widen them, and by which proof, is the face's to ask (`is_wider_than`).
    """
    caps = (limits.per_payment_minor, limits.per_day_minor)
    if not all(cap is None or 1 <= cap <= _MOST_MINOR for cap in caps):
        raise LimitInvalid
    if not 0 <= limits.without_pin_minor <= _MOST_MINOR:
        raise LimitInvalid
    await tx.run(sql.set_limits, **msgspec.structs.asdict(limits), set_at=now.wall)


async def get_spent(tx: Tx, person_id: UUID, currency: Currency = CNY, *, world_now: datetime) -> Spent:
    """What a person has paid today, and how much of it without a proof."""
    since = _day_of(world_now)
    (spent,) = await _list_spent(tx, [(PersonId(person_id), currency, since)])
    return spent


def new_until(device_since: datetime | None, wall_now: datetime) -> datetime | None:
    """Until when a device is new on which somebody signed in then; None for a known one, and for a terminal's none."""
    return None if device_since is None or wall_now - device_since >= NEW_DEVICE else device_since + NEW_DEVICE


async def find_limit_refusal(
    tx: Tx, person_id: UUID, amount: Money, *, now: Now, device_since: datetime | None = None
) -> Failure | None:
    """What the limits would say now to paying this without a proof: `AboveLimit`, `ProofMissing`, or nothing.

    For a page, which asks for no PIN in vain; the confirmation decides for good.
    """
    allowances = Allowances([await get_limits(tx, person_id, amount.currency)])
    outlay = Outlay(
        person_id=PersonId(person_id),
        amount=amount,
        at=now.world,
        is_proven=False,
        new_until=new_until(device_since, now.wall),
    )
    await allowances.add_up(tx, [outlay])
    return allowances.refusal(outlay)


class _Day(msgspec.Struct, kw_only=True):
    """What one person has paid on one day, counted on as a batch is decided."""

    paid_minor: int
    without_pin_minor: int


class Allowances:
    """What the people of one batch may still pay by their own limits, which it holds until the transaction ends.

    allowances = await Allowances.lock(tx, payer_ids, with_new_devices)
    await allowances.add_up(tx, outlays)              # what these people have paid today
    refusal = allowances.refusal(outlay)              # None if it is within their limits
    allowances.take(outlay)                           # counts against what comes after it in the batch
    allowances.give_back(outlay)                      # it came to nothing
    """

    def __init__(self, limits: Iterable[Limits], *, is_any_new: bool = True) -> None:
        self._limits = {(held.person_id, held.currency): held for held in limits}
        self._is_any_new = is_any_new
        self._days: dict[_DayKey, _Day] = {}
        self._since = self._until = datetime.max.replace(tzinfo=UTC)

    @classmethod
    async def lock(
        cls, tx: Tx, person_ids: Sequence[PersonId], with_new_devices: Sequence[PersonId] = ()
    ) -> "Allowances":
        """Lock these people's limits, in the house's order: after PINs, before payments.

        Who pays with a new device need not have set any, so they are locked themselves.
        """
        limits = await tx.rows(Limits, sql.lock_limits, person_ids=list(person_ids))
        if with_new_devices:
            await lock_people(tx, with_new_devices)
        return cls(limits, is_any_new=bool(with_new_devices))

    async def add_up(self, tx: Tx, outlays: Iterable[Outlay]) -> None:
        """Learn what was paid today by those whose limits ask for it; nobody else costs a statement."""
        if not self._limits and not self._is_any_new:
            return
        keys = {self._key(outlay) for outlay in outlays if self._asks_for_the_day(outlay)}
        if keys:
            for spent in await _list_spent(tx, list(keys)):
                day = _Day(paid_minor=spent.paid_minor, without_pin_minor=spent.without_pin_minor)
                self._days[spent.person_id, spent.currency, spent.since] = day

    def refusal(self, outlay: Outlay) -> Failure | None:
        """Which limit this would exceed; `ProofMissing` where it is not small enough to go without."""
        limits, day, minor = self._limits_of(outlay), self._day(outlay), outlay.amount.minor
        if limits is not None:
            if limits.per_payment_minor is not None and minor > limits.per_payment_minor:
                return _above(LimitKind.PER_PAYMENT, Money(limits.per_payment_minor, limits.currency), used=0)
            if day is not None and limits.per_day_minor is not None and day.paid_minor + minor > limits.per_day_minor:
                return _above(LimitKind.PER_DAY, Money(limits.per_day_minor, limits.currency), used=day.paid_minor)
        if outlay.new_until is not None:
            assert day is not None, "who pays with a new device has been added up"
            if day.paid_minor + minor > NEW_DEVICE_MINOR:
                return _above_new(outlay, used=day.paid_minor)
        if outlay.is_proven:
            return None
        is_small = limits is not None and day is not None and _is_small(limits, day.without_pin_minor, minor)
        return None if is_small else ProofMissing()

    def take(self, outlay: Outlay) -> None:
        """Count it."""
        self._count(outlay, outlay.amount.minor)

    def give_back(self, outlay: Outlay) -> bool:
        """Count it no more; whether that makes room for others."""
        return self._count(outlay, -outlay.amount.minor)

    def _count(self, outlay: Outlay, minor: int) -> bool:
        day = self._day(outlay)
        if day is None:
            return False
        day.paid_minor += minor
        if not outlay.is_proven:
            day.without_pin_minor += minor
        return True

    def _limits_of(self, outlay: Outlay) -> Limits | None:
        return self._limits.get((outlay.person_id, outlay.amount.currency)) if self._limits else None

    def _asks_for_the_day(self, outlay: Outlay) -> bool:
        if outlay.new_until is not None:
            return True
        limits = self._limits_of(outlay)
        if limits is None:
            return False
        return limits.per_day_minor is not None or (not outlay.is_proven and limits.without_pin_minor > 0)

    def _day(self, outlay: Outlay) -> _Day | None:
        """What was paid on its day, if anybody asked."""
        return self._days.get(self._key(outlay)) if self._days else None

    def _key(self, outlay: Outlay) -> _DayKey:
        if not self._since <= outlay.at < self._until:  # nearly all of a batch are of one day
            self._since = _day_of(outlay.at)
            self._until = _day_of(self._since + timedelta(days=1))
        return outlay.person_id, outlay.amount.currency, self._since


async def _list_spent(tx: Tx, days: Sequence[_DayKey]) -> list[Spent]:
    """One for each of these days, in no order."""
    person_ids, currencies, since = columns(days, 3)
    until = [_day_of(each + timedelta(days=1)) for each in since]
    return await tx.rows(Spent, sql.list_spent, person_ids=person_ids, currencies=currencies, since=since, until=until)


def _day_of(world_now: datetime) -> datetime:
    """When this day began, in UTC."""
    return world_now.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def _is_small(limits: Limits, spent_minor: int, minor: int) -> bool:
    most = limits.without_pin_minor
    return minor <= most and spent_minor + minor <= SMALL_SUMS_A_DAY * most


def _most(cap: int | None) -> int:
    return _MOST_MINOR if cap is None else cap


def _above(which: LimitKind, allowed: Money, *, used: int) -> AboveLimit:
    return AboveLimit(limit=which, allowed=allowed, left=_left(allowed, used))


def _above_new(outlay: Outlay, *, used: int) -> DeviceNew:
    allowed = Money(NEW_DEVICE_MINOR, outlay.amount.currency)
    return DeviceNew(limit=LimitKind.NEW_DEVICE, allowed=allowed, left=_left(allowed, used), until=outlay.new_until)


def _left(allowed: Money, used: int) -> Money:
    return Money(max(allowed.minor - used, 0), allowed.currency)
