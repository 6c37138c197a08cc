"""Pools: the shops that know this person, and each thing that such a shop knows."""

from typing import Any, Final

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from dewpond import identity, merchants, reservoir
from dewpond.kit.db import Tx
from dewpond.reservoir import Contact, Touchpoint
from dewpond.web.cursors import cursor, read_cursor
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import page
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.wallets import list_lines, receipt_path, shops_by_id

_MOST: Final = 30


@get("/pools", opt=needs(Needs.PERSON))
async def pools(request: Request[Any, Any, Any]) -> Response[str]:
    """The shops that know this person, the newest acquaintance first."""
    person_id, before = visitor_of(request).session.holder_id, read_cursor(request)
    async with site_of(request).house.db.transaction() as tx:
        contacts = await reservoir.list_pools(tx, person_id, before=before, most=_MOST + 1)
        shops = await shops_by_id(tx, (one.merchant_id for one in contacts))
    shown = contacts[:_MOST]
    more = cursor(shown[-1].first_seen_at, shown[-1].merchant_id) if len(contacts) > _MOST else ""
    return page(
        request,
        "phone/pools.html",
        pools=[(shops[one.merchant_id], one) for one in shown],
        more=f"/pools?before={more}" if more else "",
    )


@get("/pools/{number:str}", opt=needs(Needs.PERSON))
async def pool(request: Request[Any, Any, Any], number: FromPath[str]) -> Response[str]:
    """All that one shop knows of this person. A shop that knows nothing of them is not here at all."""
    person_id, before = visitor_of(request).session.holder_id, read_cursor(request)
    async with site_of(request).house.db.transaction() as tx:
        shop = await merchants.find_merchant_by_number(tx, number)
        contact = None if shop is None else await reservoir.find_contact(tx, shop.id, person_id)
        if shop is None:
            raise NotFoundException
        if contact is None:
            if not await list_lines(tx, person_id, merchant_ids=[shop.id], most=1):
                raise NotFoundException
            return page(request, "phone/pool_soon.html", shop=shop)  # paid, and the drop is still falling
        points = await reservoir.list_touchpoints(tx, shop.id, person_id, before=before, most=_MOST + 1)
        shown = points[:_MOST]
        known_as = await _known_as(tx, contact, shown)
    more = cursor(shown[-1].occurred_at, shown[-1].fact_id) if len(points) > _MOST else ""
    return page(
        request,
        "phone/pool.html",
        shop=shop,
        contact=contact,
        points=shown,
        known_as=known_as,
        receipt_path=receipt_path,
        more=f"/pools/{number}?before={more}" if more else "",
    )


async def _known_as(tx: Tx, contact: Contact, points: list[Touchpoint]) -> list[tuple[str, str]]:
    """The apps through which this person paid, and what each calls them: no two of them the same."""
    wanted = {contact.app_id, *(point.app_id for point in points)}
    names = await identity.find_open_ids(tx, [(one, contact.person_id) for one in wanted])
    apps = await merchants.list_apps(tx, list(wanted))
    return [(app.name, names[app.id, contact.person_id]) for app in apps if (app.id, contact.person_id) in names]


ROUTES = [pools, pool]
