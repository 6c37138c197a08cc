"""Pools of a person: which merchants know them, and what each knows. The other side of a contact."""

from datetime import datetime
from uuid import UUID

from dewpond.kit.db import Tx, queries
from dewpond.reservoir.contacts import Contact, with_spendings

sql = queries(__file__)


async def list_pools(
    tx: Tx, person_id: UUID, *, before: tuple[datetime, UUID] | None = None, most: int = 50
) -> list[Contact]:
    """What every merchant that knows this person knows of them, the newest acquaintance first.

    The next page is `before` the last (first_seen_at, merchant_id).
    """
    before_at, before_id = before or (None, None)
    merchants = await tx.values(
        sql.list_pools, person_id=person_id, before_at=before_at, before_id=before_id, most=most
    )
    contacts = await tx.rows(Contact, sql.list_contacts_of, person_id=person_id, merchant_ids=merchants)
    return await with_spendings(tx, contacts)
