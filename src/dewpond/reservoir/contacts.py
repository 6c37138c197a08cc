"""Contacts: the people of a merchant's pool, with what they spent; each figure walks to its touchpoints."""

from datetime import datetime
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, queries
from dewpond.kit.money import Currency, Money

sql = queries(__file__)


class Spending(msgspec.Struct, frozen=True, kw_only=True):
    """What one person spent with one merchant in one currency."""

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
    return await _with_spendings(tx, merchant_id, contacts)


async def find_contact(tx: Tx, merchant_id: UUID, person_id: UUID) -> Contact | None:
    """One person of the pool, or None if this merchant does not know them."""
    contact = await tx.row(Contact, sql.find_contact, merchant_id=merchant_id, person_id=person_id)
    return None if contact is None else (await _with_spendings(tx, merchant_id, [contact]))[0]


async def pool_summary(tx: Tx, merchant_id: UUID) -> PoolSummary:
    """How many people are in the pool, how many came back, and what they spent."""
    counts = await tx.row(_Counts, sql.count_contacts, merchant_id=merchant_id)
    assert counts is not None
    totals = await tx.rows(Total, sql.sum_spendings, merchant_id=merchant_id)
    return PoolSummary(people=counts.people, returning=counts.returning, totals=tuple(totals))


async def _with_spendings(tx: Tx, merchant_id: UUID, contacts: list[Contact]) -> list[Contact]:
    people = [contact.person_id for contact in contacts]
    rows = await tx.rows(Spending, sql.list_spendings, merchant_id=merchant_id, person_ids=people)
    return [
        msgspec.structs.replace(contact, spendings=tuple(row for row in rows if row.person_id == contact.person_id))
        for contact in contacts
    ]
