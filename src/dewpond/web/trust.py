"""The page that a phone opens first with `run --lan`: it gives out the authority's certificate, and leads on.

It is the only one of people's pages that is served over plain http, because it is what makes https possible.
"""

from pathlib import Path
from typing import Any

from litestar import Request, Response, get

from dewpond.identity import Realm
from dewpond.kit.worlds import World
from dewpond.web.house import House
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import page
from dewpond.web.qr import qr_picture
from dewpond.web.sites import Porch, Site, create_site


@get("/", opt=needs(Needs.NOBODY))
async def trust(request: Request[Any, Any, Any]) -> Response[str]:
    """How to install the certificate, and where to go then."""
    world: World = request.app.state.world
    url = world.public_url
    return page(request, "phone/trust.html", phone_url=url, staff_url=world.staff_url, picture=qr_picture(url))


@get("/authority.crt", opt=needs(Needs.NOBODY))
async def give_out(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The authority's certificate, as phones take it."""
    path: Path = request.app.state.authority
    kept = 'attachment; filename="dewpond-authority.crt"'
    return Response(path.read_bytes(), media_type="application/x-x509-ca-cert", headers={"Content-Disposition": kept})


def create_trust_site(house: House, world: World, *, authority: Path) -> Porch:
    """The page that gives out the authority's certificate, as an ASGI application."""
    origin = house.settings.trust_url
    site = Site(house, name="trust", realm=Realm.PERSON, origin=origin, is_sandbox=world.is_sandbox)
    return create_site(site, [trust, give_out], world=world, authority=authority)
