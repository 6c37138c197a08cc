"""The pool of a shop: who settled in it, and what the shop knows of each.

People are called by their open ids here, which are this shop's alone, in every address and every piece of a page: an id
that is the same everywhere would let two shops find out whom they share.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

from dewpond import identity, merchants, pay, reservoir
from dewpond.identity import PersonId
from dewpond.kit import worlds
from dewpond.kit.db import Tx
from dewpond.kit.money import CNY
from dewpond.merchants import Capability, Merchant
from dewpond.reservoir import Contact, ContactOrder, Day, Place, Takings, Touchpoint
from dewpond.web import words
from dewpond.web.console.shops import read_moment, read_place, shop_page, write_place
from dewpond.web.live import settled
from dewpond.web.needs import needs
from dewpond.web.sites import merchant_of, site_of

_PAGE: Final = 50
_DAYS: Final = 14
#: People among whom a name is searched for: those seen last.
_SEARCHED: Final = 2_000
#: People who are looked at in one question of many shops, to tell who came back.
_LOOKED_AT: Final = 20_000


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """A contact as a row shows it."""

    contact: Contact
    name: str
    #: What the shop calls them, at the app through which they came first; it comes with the drop. Empty only where a
    #: worker of an earlier version let the drop fall after this one was there.
    open_id: str


@get("/m/{mchid:str}/pool", opt=needs(Capability.POOL))
async def pool(request: Request[Any, Any, Any]) -> Response[str]:
    """Everybody in the pool, in one of its orders, or those with a name."""
    merchant = merchant_of(request)
    asked = request.query_params.get("sort", "")
    sort = ContactOrder(asked) if asked in {one.value for one in ContactOrder} else ContactOrder.LAST_SEEN
    text = request.query_params.get("q", "").strip()[:64]
    async with site_of(request).house.db.transaction() as tx:
        position = await settled(tx)  # first: what comes in between is told again, and nothing is missed
        now = await worlds.read_clocks(tx)
        known = (await read_pools(tx, [merchant.id], now.world))[merchant.id]
        before = None if text else await _place(tx, merchant, request.query_params.get("before", ""), sort)
        most = _SEARCHED if text else _PAGE + 1
        found = await reservoir.filter_contacts(tx, merchant.id, sort=sort, before=before, most=most)
        matching = await _with_name(tx, found, text) if text else found
        drops = await shown_drops(tx, matching[:_PAGE])
    last = next((drop for drop in reversed(drops) if drop.open_id), None)
    more = f"/m/{merchant.number}/pool?{_next(last, sort)}" if last and not text and len(found) > _PAGE else ""
    return shop_page(
        request,
        "console/pool.html",
        drops=drops,
        more=more,
        sort=sort,
        q=text,
        position=position,
        #: The list itself follows what happens only where the newest come first anyway.
        is_live=sort is ContactOrder.LAST_SEEN and not text and before is None,
        **known.shown(),
    )


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A shop's pool at a glance, in no language yet."""

    people: int
    #: Who came back; None where nobody counted.
    returning: int | None
    takings: list[Takings]
    days: list[Day]

    def shown(self) -> dict[str, Any]:
        """What the tiles and the charts of a pool show."""
        return {
            "people": self.people,
            "returning": self.returning,
            "total": next((one for one in self.takings if one.currency == CNY), Takings(currency=CNY)),
            "others": [one for one in self.takings if one.currency != CNY],
            "arrivals": [
                {"label": words.short_day(day.day), "value": day.new_contacts, "text": words.number(day.new_contacts)}
                for day in self.days
            ],
            "takings": [
                {"label": words.short_day(day.day), "value": taken.minor, "text": words.money(taken)}
                for day in self.days
                for taken in [day.takings_in(CNY).taken]
            ],
            "last_day": _DAYS - 1,
        }


async def read_pools(
    tx: Tx, merchant_ids: Sequence[UUID], world_now: datetime, *, most_counted: int | None = None
) -> dict[UUID, Figures]:
    """The pools of these shops, asked for at once.

    To tell who came back, everybody has to be looked at. With `most_counted` that is not done in a pool of more people,
    nor in more pools than have `_LOOKED_AT` people together, the smallest first.
    """
    today = reservoir.day_of(world_now)
    days = await reservoir.list_days_of(tx, merchant_ids, today - timedelta(days=_DAYS - 1), today)
    people = await reservoir.count_people_of(tx, merchant_ids)
    counted = list(people) if most_counted is None else _counted(people, most_counted)
    returning = await reservoir.count_returning(tx, counted) if counted else {}
    takings = await reservoir.total_takings_of(tx, merchant_ids)
    return {
        one: Figures(people=people[one], returning=returning.get(one), takings=takings[one], days=days[one])
        for one in merchant_ids
    }


def _counted(people: Mapping[UUID, int], most: int) -> list[UUID]:
    """In whose pools everybody is looked at: the largest are left out first."""
    smallest = sorted((one for one in people if people[one] <= most), key=lambda one: people[one])
    together = accumulate(people[one] for one in smallest)
    return [one for one, sum_ in zip(smallest, together, strict=True) if sum_ <= _LOOKED_AT]


async def shown_drops(tx: Tx, contacts: Sequence[Contact]) -> list[Drop]:
    """Contacts with their names and what the shop calls them, in their order."""
    names = await _names_of(tx, contacts)
    open_ids = await identity.find_open_ids(tx, {(one.app_id, one.person_id) for one in contacts})
    return [
        Drop(contact=one, name=names.get(one.person_id, "—"), open_id=open_ids.get((one.app_id, one.person_id), ""))
        for one in contacts
    ]


async def _with_name(tx: Tx, contacts: Sequence[Contact], text: str) -> list[Contact]:
    """Those in whose name this stands, however it is written."""
    names = await _names_of(tx, contacts)
    return [one for one in contacts if text.casefold() in names.get(one.person_id, "").casefold()]


async def _names_of(tx: Tx, contacts: Sequence[Contact]) -> dict[UUID, str]:
    return {person.id: person.name for person in await identity.list_people(tx, [one.person_id for one in contacts])}


def _next(last: Drop, sort: ContactOrder) -> str:
    value, _ = reservoir.place_of(last.contact, sort)
    begins = value.isoformat() if isinstance(value, datetime) else value
    return urlencode({"sort": sort, "before": f"{begins}~{last.open_id}"})


async def _place(tx: Tx, merchant: Merchant, text: str, sort: ContactOrder) -> Place | None:
    """Where a page begins, as `_next` wrote it; None for what is none: the list then begins at its beginning."""
    value, _, open_id = text.partition("~")
    is_counted = sort in {ContactOrder.SPENT, ContactOrder.PURCHASES}
    begins = _read_count(value) if is_counted else read_moment(value)
    person_id = None if begins is None else await _person_called(tx, merchant, open_id)
    return None if begins is None or person_id is None else (begins, person_id)


def _read_count(text: str) -> int | None:
    try:
        count = int(text)
    except ValueError:
        return None
    return count if abs(count) < 2**63 else None


# --- what the shop calls them -----------------------------------------------------------------------------------------


async def _person_called(tx: Tx, merchant: Merchant, open_id: str) -> PersonId | None:
    """Whom one of this shop's own apps calls so; what another shop calls them means nobody here."""
    apps = await merchants.apps_of(tx, merchant.id)
    return await identity.person_of_apps(tx, [app.id for app in apps], open_id)


async def address_of(tx: Tx, merchant: Merchant, person_id: PersonId) -> str:
    """Where a shop finds somebody in its pool; empty as long as their drop has not fallen."""
    known = await reservoir.find_contact(tx, merchant.id, person_id)
    if known is None:
        return ""
    for open_id in (await identity.find_open_ids(tx, [(known.app_id, person_id)])).values():
        return f"/m/{merchant.number}/pool/{open_id}"
    return ""


# --- one of them ------------------------------------------------------------------------------------------------------


@get("/m/{mchid:str}/pool/{open_id:str}", opt=needs(Capability.POOL))
async def contact(request: Request[Any, Any, Any], open_id: FromPath[str]) -> Response[str]:
    """One person as this shop knows them; whom it does not know does not exist for it."""
    merchant = merchant_of(request)
    before = read_place(request.query_params.get("before", ""))
    async with site_of(request).house.db.transaction() as tx:
        person_id = await _person_called(tx, merchant, open_id)
        known = None if person_id is None else await reservoir.find_contact(tx, merchant.id, person_id)
        if person_id is None or known is None:
            raise NotFoundException
        person = await identity.get_person(tx, person_id)
        found = await reservoir.list_touchpoints(tx, merchant.id, known.person_id, before=before, most=_PAGE + 1)
        touchpoints = found[:_PAGE]
        keys = {(merchant.id, touchpoint.payment_id) for touchpoint in touchpoints}
        payments = {one.id: one for one in await pay.list_payments(tx, list(keys))}
        named = await identity.find_open_ids(tx, [(known.app_id, known.person_id)])
        [app] = await merchants.list_apps(tx, [known.app_id])
    more = f"/m/{merchant.number}/pool/{open_id}?{_after(touchpoints[-1])}" if len(found) > _PAGE else ""
    return shop_page(
        request,
        "console/contact.html",
        contact=known,
        name=person.name,
        app=app,
        open_id=named.get((known.app_id, known.person_id), open_id),
        touchpoints=touchpoints,
        more=more,
        payments=payments,
        spending=known.spending_in(CNY),
        every=_every(known),
    )


def _every(known: Contact) -> int | None:
    """How many days lie between purchases, as a rule: 0 for less than one, None for who has bought once."""
    firsts = [one.first_bought_at for one in known.spendings if one.first_bought_at is not None]
    lasts = [one.last_bought_at for one in known.spendings if one.last_bought_at is not None]
    purchases = sum(one.purchases for one in known.spendings)
    return round((max(lasts) - min(firsts)) / timedelta(days=1) / (purchases - 1)) if purchases > 1 else None


def _after(last: Touchpoint) -> str:
    return urlencode({"before": write_place(last.occurred_at, last.fact_id)})


ROUTES = [pool, contact]
