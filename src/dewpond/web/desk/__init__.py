"""The operator's desk: merchants, people, top-ups, ledger, deliveries, clock, health, journal."""

from dewpond.web.desk import clock, deliveries, health, journal, ledger, merchants, people, samples, staff, top_ups
from dewpond.web.desk.sums import Sums

__all__ = ["ROUTES", "Sums"]

ROUTES = [
    *health.ROUTES,
    *merchants.ROUTES,
    *people.ROUTES,
    *top_ups.ROUTES,
    *ledger.ROUTES,
    *deliveries.ROUTES,
    *clock.ROUTES,
    *staff.ROUTES,
    *journal.ROUTES,
    *samples.ROUTES,
]
