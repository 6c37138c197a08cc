"""Contacts: the people of a merchant's pool, with what they spent; each figure walks to its touchpoints."""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.money import CNY, Currency, Money

sql = queries(__file__)


class ContactOrder(StrEnum):
    """By what a pool can be looked through; the latest or the most always comes first."""

    LAST_SEEN = "last_seen"
    FIRST_SEEN = "first_seen"
    #: What they spent in one currency, after refunds.
    SPENT = "spent"
    #: How often they bought in one currency.
    PURCHASES = "purchases"


#: Where a contact stands in an order: after it the next page begins.
Place: TypeAlias = tuple[datetime | int, UUID]


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What one person spent with one merchant in one currency."""

    merchant_id: UUID
    person_id: UUID
    currency: Currency
    purchases: int
    #: Before refunds.
    spent_minor: int
    refunds: int
    refunded_minor: int
    first_bought_at: datetime | None
    last_bought_at: datetime | None

    @property
    def spent(self) -> Money:
        return Money(self.spent_minor, self.currency)

    @property
    def refunded(self) -> Money:
        return Money(self.refunded_minor, self.currency)

    @property
    def net(self) -> Money:
        return self.spent - self.refunded


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """One person as one merchant knows them."""

    merchant_id: UUID
    person_id: UUID
    #: The app through which they came first.
    app_id: UUID
    first_seen_at: datetime
    last_seen_at: datetime
    #: A row per currency.
    spendings: tuple[Spending, ...] = ()

    def spending_in(self, currency: Currency) -> Spending | None:
        return next((one for one in self.spendings if one.currency == currency), None)


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """What a whole pool spent in one currency."""

    currency: Currency
    buyers: int
    purchases: int
    spent_minor: int
    refunds: int
    refunded_minor: int

    @property
    def spent(self) -> Money:
        return Money(self.spent_minor, self.currency)

    @property
    def refunded(self) -> Money:
        return Money(self.refunded_minor, self.currency)

    @property
    def net(self) -> Money:
        return self.spent - self.refunded


class PoolSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's pool at a glance."""

    people: int
    #: Those who bought more than once.
    returning: int
    totals: tuple[Total, ...]


class _Returning(msgspec.Struct, frozen=True, kw_only=True):
    merchant_id: UUID
    people: int


class _Counts(msgspec.Struct, frozen=True, kw_only=True):
    people: int
    returning: int


async def list_contacts(
    tx: Tx, merchant_id: UUID, *, before: tuple[datetime, UUID] | None = None, most: int = 50
) -> list[Contact]:
    """A page of the pool, the last seen first; the next page is `before` the last (last_seen_at, person_id)."""
    before_at, before_id = before or (None, None)
    contacts = await tx.rows(
        Contact, sql.list_contacts, merchant_id=merchant_id, before_at=before_at, before_id=before_id, most=most
    )
    return await with_spendings(tx, contacts)


async def filter_contacts(
    tx: Tx,
    merchant_id: UUID,
    *,
    sort: ContactOrder = ContactOrder.LAST_SEEN,
    currency: Currency = CNY,
    before: Place | None = None,
    most: int = 50,
) -> list[Contact]:
    """A page of the pool in one of its orders; the next page is `before` the `place_of` the last contact.

    By what was spent and by purchases there are those only who ever moved money in `currency`. Only the order by
    `LAST_SEEN` has an index: the others read this merchant's whole pool, a tenth of a second for a hundred thousand.
    """
    value, before_id = before or (None, None)
    is_counted = sort in (ContactOrder.SPENT, ContactOrder.PURCHASES)
    if value is not None and isinstance(value, int) is not is_counted:
        raise ValueError(f"{value!r} is no place in the order by {sort}")
    if sort is ContactOrder.LAST_SEEN:
        assert not isinstance(value, int)
        return await list_contacts(
            tx, merchant_id, before=None if value is None or before_id is None else (value, before_id), most=most
        )
    if sort is ContactOrder.FIRST_SEEN:
        contacts = await tx.rows(
            Contact,
            sql.list_contacts_by_first_seen,
            merchant_id=merchant_id,
            before_at=value,
            before_id=before_id,
            most=most,
        )
    else:
        contacts = await tx.rows(
            Contact,
            sql.list_contacts_by_spending,
            merchant_id=merchant_id,
            currency=currency,
            by_purchases=sort is ContactOrder.PURCHASES,
            before=value,
            before_id=before_id,
            most=most,
        )
    return await with_spendings(tx, contacts)


def place_of(contact: Contact, sort: ContactOrder, currency: Currency = CNY) -> Place:
    """Where a contact of `filter_contacts` stands in that order."""
    if sort is ContactOrder.LAST_SEEN:
        return contact.last_seen_at, contact.person_id
    if sort is ContactOrder.FIRST_SEEN:
        return contact.first_seen_at, contact.person_id
    spending = contact.spending_in(currency)
    if spending is None:
        raise ValueError(f"this contact has no place in the order by {sort} of {currency}")
    count = spending.purchases if sort is ContactOrder.PURCHASES else spending.net.minor
    return count, contact.person_id


async def find_contact(tx: Tx, merchant_id: UUID, person_id: UUID) -> Contact | None:
    """One person of the pool, or None if this merchant does not know them."""
    contact = await tx.row(Contact, sql.find_contact, merchant_id=merchant_id, person_id=person_id)
    return None if contact is None else (await with_spendings(tx, [contact]))[0]


async def list_contacts_among(tx: Tx, pairs: Collection[tuple[UUID, UUID]]) -> list[Contact]:
    """Of these people, each beside a merchant, those whom that merchant knows, the last seen first."""
    merchant_ids, person_ids = columns(sorted(set(pairs)), 2)
    contacts = await tx.rows(Contact, sql.list_contacts_among, merchant_ids=merchant_ids, person_ids=person_ids)
    return await with_spendings(tx, contacts)


async def count_returning(tx: Tx, merchant_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many people came back to each of these merchants, found by looking at everybody in their pools."""
    found = await tx.rows(_Returning, sql.count_returning, merchant_ids=list(merchant_ids))
    return dict.fromkeys(merchant_ids, 0) | {one.merchant_id: one.people for one in found}


async def pool_summary(tx: Tx, merchant_id: UUID) -> PoolSummary:
    """How many people are in the pool, how many came back, and what they spent."""
    counts = await tx.row(_Counts, sql.count_contacts, merchant_id=merchant_id)
    assert counts is not None
    totals = await tx.rows(Total, sql.sum_spendings, merchant_id=merchant_id)
    return PoolSummary(people=counts.people, returning=counts.returning, totals=tuple(totals))


async def with_spendings(tx: Tx, contacts: Sequence[Contact]) -> list[Contact]:
    """These contacts with what each spent."""
    rows = await tx.rows(
        Spending,
        sql.list_spendings,
        merchant_ids=[contact.merchant_id for contact in contacts],
        person_ids=[contact.person_id for contact in contacts],
    )
    spent: dict[tuple[UUID, UUID], list[Spending]] = {}
    for row in rows:
        spent.setdefault((row.merchant_id, row.person_id), []).append(row)
    return [
        msgspec.structs.replace(contact, spendings=tuple(spent.get((contact.merchant_id, contact.person_id), ())))
        for contact in contacts
    ]
