"""The merchant's console: today, payments, pool, codes, keys, deliveries, staff, journal — live."""

from dewpond.web.console import (
    codes,
    deliveries,
    doorway,
    journal,
    keys,
    payments,
    pool,
    proofs,
    sign_in,
    staff,
    streams,
    today,
)
from dewpond.web.console.streams import KINDS, still_welcome

__all__ = ["KINDS", "ROUTES", "still_welcome"]

ROUTES = [
    *sign_in.ROUTES,
    *proofs.ROUTES,
    *doorway.ROUTES,
    *today.ROUTES,
    *streams.ROUTES,
    *payments.ROUTES,
    *pool.ROUTES,
    *codes.ROUTES,
    *keys.ROUTES,
    *deliveries.ROUTES,
    *staff.ROUTES,
    *journal.ROUTES,
]
