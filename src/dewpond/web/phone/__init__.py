"""The phone: what a person has in the hand."""

from dewpond.identity import Realm
from dewpond.kit.worlds import World
from dewpond.web import entrance, settings
from dewpond.web.house import House
from dewpond.web.phone import (
    checkout,
    codes,
    history,
    home,
    limits,
    me,
    newcomers,
    passkeys,
    pins,
    pools,
    proofs,
    receipts,
    scan,
    scans,
    security,
    shell,
    sign_in,
    standing,
    taps,
    top_up,
)
from dewpond.web.sites import Porch, Site, create_site

__all__ = ["ROUTES", "create_phone_site"]

ROUTES = [
    *shell.ROUTES,
    *settings.ROUTES,
    *entrance.ROUTES,
    *sign_in.ROUTES,
    *newcomers.ROUTES,
    *scans.ROUTES,
    *proofs.ROUTES,
    *home.ROUTES,
    *scan.ROUTES,
    *checkout.ROUTES,
    *receipts.ROUTES,
    *standing.ROUTES,
    *history.ROUTES,
    *top_up.ROUTES,
    *pools.ROUTES,
    *security.ROUTES,
    *passkeys.ROUTES,
    *pins.ROUTES,
    *limits.ROUTES,
    *me.ROUTES,
]


def create_phone_site(house: House, world: World) -> Porch:
    """The phone's site of one house, as an ASGI application."""
    site = Site(house, name="phone", realm=Realm.PERSON, origin=world.public_url, is_sandbox=world.is_sandbox)
    held = codes.Codes(house.db)
    site.batches.append(held.lookups)
    return create_site(site, ROUTES, short=taps.Taps(house, site).answer, codes=held)
