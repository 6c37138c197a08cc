"""The reservoir: what a merchant knows of its people, drop by drop, from what they did with it."""

from dewpond.reservoir.contacts import (
    Contact,
    PoolSummary,
    Spending,
    Total,
    find_contact,
    list_contacts,
    pool_summary,
)
from dewpond.reservoir.touchpoints import (
    Touchpoint,
    TouchpointKind,
    list_touchpoints,
    record_purchases,
    record_refunds,
)

__all__ = [
    "Contact",
    "PoolSummary",
    "Spending",
    "Total",
    "Touchpoint",
    "TouchpointKind",
    "find_contact",
    "list_contacts",
    "list_touchpoints",
    "pool_summary",
    "record_purchases",
    "record_refunds",
]
