"""The staff's site: the merchants' consoles and the operator's desk, behind one sign-in."""

from dewpond.identity import Realm
from dewpond.kit.worlds import World
from dewpond.web import console, desk, entrance, settings
from dewpond.web.house import House
from dewpond.web.live import Live
from dewpond.web.sites import Porch, Site, create_site

ROUTES = [*settings.ROUTES, *entrance.ROUTES, *console.ROUTES, *desk.ROUTES]


def create_staff_site(house: House, world: World) -> Porch:
    """The staff's site of one house, as an ASGI application."""
    live = Live(house.db, console.KINDS, console.still_welcome)
    site = Site(house, name="staff", realm=Realm.STAFF, origin=world.staff_url, is_sandbox=world.is_sandbox, live=live)
    return create_site(site, ROUTES, sums=desk.Sums(house.db))
