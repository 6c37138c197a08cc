"""Pages for people and staff: the phone, the merchants' consoles, the operator's desk."""

from dewpond.web.connections import CONNECTIONS, Connection, Limits, Lobby
from dewpond.web.house import House
from dewpond.web.pages import warm_up
from dewpond.web.phone import create_phone_site
from dewpond.web.sites import Porch
from dewpond.web.staff import create_staff_site
from dewpond.web.trust import create_trust_site

__all__ = [
    "CONNECTIONS",
    "Connection",
    "House",
    "Limits",
    "Lobby",
    "Porch",
    "create_phone_site",
    "create_staff_site",
    "create_trust_site",
    "warm_up",
]
