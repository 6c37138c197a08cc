"""The console's event streams: what open pages are told of new payments, refunds and drops.

Two kinds: the shop's day, for everybody who works there, and the pool, for those who may see it; names of the pool go
to nobody else. A message holds pieces of the page in place of older ones: rows by the id of what they show, figures and
charts whole.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, get
from litestar.response import Stream

from dewpond import identity, merchants, pay, reservoir
from dewpond.identity import Realm
from dewpond.kit import clock
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.outbox import Fact
from dewpond.merchants import Capability, Merchant
from dewpond.web import words
from dewpond.web.console import pool, today
from dewpond.web.console.pool import Drop
from dewpond.web.console.shops import Shown, shown_of
from dewpond.web.failures import Crowded
from dewpond.web.live import Guest, Patch, Telling, Write
from dewpond.web.needs import NEEDS
from dewpond.web.pages import render
from dewpond.web.sites import merchant_of, site_of, visitor_of

_DAY: Final = "day"
_POOL: Final = "pool"

#: Rows in one message; where more has changed, a page is loaded anew and shows no gap.
_ROWS: Final = 200
#: In a pool of more people nobody counts anew, with each drop, how many came back.
_COUNTED: Final = 10_000

_CUT: Final = "<!-- cut -->"


@get("/m/{mchid:str}/live", opt={NEEDS: Capability.TODAY, "as_it_is": True})
async def follow_day(request: Request[Any, Any, Any]) -> Stream:
    """What happens to a shop from now on, or from the position the browser names."""
    return _listen(request, _DAY, Capability.TODAY)


@get("/m/{mchid:str}/pool/live", opt={NEEDS: Capability.POOL, "as_it_is": True})
async def follow_pool(request: Request[Any, Any, Any]) -> Stream:
    """What happens in a shop's pool from now on, or from the position the browser names."""
    return _listen(request, _POOL, Capability.POOL)


def _listen(request: Request[Any, Any, Any], kind: str, need: Capability) -> Stream:
    site, merchant = site_of(request), merchant_of(request)
    live = site.live
    assert live is not None
    named = str(request.headers.get("last-event-id") or request.query_params.get("after", ""))
    after = int(named) if named.isascii() and named.isdigit() and len(named) < 19 else None
    guest = Guest(
        session_id=visitor_of(request).session.id,
        staff_id=visitor_of(request).session.holder_id,
        merchant_id=merchant.id,
        need=need,
    )
    if not live.has_room_for(guest):
        raise Crowded
    return Stream(
        live.stream(kind, merchant.id, words.language(), guest, after=after),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def still_welcome(tx: Tx, guests: Collection[Guest]) -> set[Guest]:
    """Those who are signed in as before and whose role still has what they listen to. Being asked prolongs nothing.

    Two statements that bring back only who is not: it is asked every second of everybody who listens.
    """
    sessions = {(guest.staff_id, guest.session_id) for guest in guests}
    ended = await identity.ended_among(tx, Realm.STAFF, sessions, wall_now=clock.wall_now())
    barred = await merchants.barred_among(tx, {_wanted(guest) for guest in guests})
    if not ended and not barred:
        return set(guests)
    return {guest for guest in guests if guest.session_id not in ended and _wanted(guest) not in barred}


def _wanted(guest: Guest) -> tuple[UUID, UUID, str]:
    return guest.staff_id, guest.merchant_id, guest.need


# --- what is told -----------------------------------------------------------------------------------------------------


class _Day(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened to a shop, in no language yet."""

    merchant: Merchant
    #: Rows of new payments, and of others that changed.
    new: list[Shown]
    changed: list[Shown]
    figures: today.Figures
    drops: int

    def write(self) -> Telling:
        """New payments go to the top of the list; what was given back changes where it stands."""
        told = self.figures.shown()
        pieces = render("console/pieces.html", merchant=self.merchant, new=self.new, changed=self.changed, **told)
        figures_html, hours_html, new_html, *changed_html = (part.strip() for part in pieces.split(_CUT))
        html = {"#figures": Patch(how="replace", html=figures_html), "#hours": Patch(how="replace", html=hours_html)}
        if self.new:
            html |= {"#payments": Patch(how="prepend", html=new_html), "#no-payments": Patch(how="replace", html="")}
        html |= {
            f"#payment-{row.payment.id}": Patch(how="replace", html=piece)
            for row, piece in zip(self.changed, changed_html, strict=True)
        }
        if self.drops:
            html["#no-drops"] = Patch(how="replace", html="")
        return Telling(html=html, drops=self.drops)


class _Pool(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened in a shop's pool, in no language yet."""

    merchant: Merchant
    drops: list[Drop]
    figures: pool.Figures
    fallen: int

    def write(self) -> Telling:
        """Whoever came or came back goes to the top of the list."""
        told = self.figures.shown()
        pieces = render("console/pool_pieces.html", merchant=self.merchant, drops=self.drops, **told)
        people_html, spent_html, others_html, returning_html, days_html, rows_html = (
            part.strip() for part in pieces.split(_CUT)
        )
        places = {"#people": people_html, "#spent": spent_html, "#spent-others": others_html, "#pool-days": days_html}
        if returning_html:
            places["#returning"] = returning_html
        html = {selector: Patch(how="replace", html=piece) for selector, piece in places.items()}
        html |= {"#drops": Patch(how="prepend", html=rows_html), "#no-drops": Patch(how="replace", html="")}
        return Telling(html=html, drops=self.fallen)


def _load_anew() -> Telling:
    return Telling(reload=True)


async def _tell_days(tx: Tx, facts_of: Mapping[UUID, Sequence[Fact]], now: Now) -> dict[UUID, Write]:
    """New payments and what was given back, of all these shops at once."""
    events = {merchant_id: [fact.event for fact in facts] for merchant_id, facts in facts_of.items()}
    paid = {event.payment_id for some in events.values() for event in some if isinstance(event, pay.PaymentSucceeded)}
    touched = {
        merchant_id: {event.payment_id for event in some if isinstance(event, pay.PaymentSucceeded | pay.RefundEnded)}
        for merchant_id, some in events.items()
    }
    told, shops = await _sort_out(tx, touched)
    if not shops:
        return told
    keys = [(merchant_id, payment_id) for merchant_id in shops for payment_id in touched[merchant_id]]
    payments = await pay.list_payments(tx, keys)
    payments.sort(key=lambda one: (one.opened_at, one.id), reverse=True)
    rows: dict[UUID, list[Shown]] = {merchant_id: [] for merchant_id in shops}
    for row in await shown_of(tx, shops, payments, now.world):
        rows[row.payment.merchant_id].append(row)
    figures = await today.read_figures(tx, list(shops), now.world)
    drops = await reservoir.count_first_meetings(tx, [fact for one in shops for fact in facts_of[one]])
    for merchant_id, merchant in shops.items():
        told[merchant_id] = _Day(
            merchant=merchant,
            new=[row for row in rows[merchant_id] if row.payment.id in paid],
            changed=[row for row in rows[merchant_id] if row.payment.id not in paid],
            figures=figures[merchant_id],
            drops=drops.get(merchant_id, 0),
        ).write
    return told


async def _tell_pools(tx: Tx, facts_of: Mapping[UUID, Sequence[Fact]], now: Now) -> dict[UUID, Write]:
    """Who came or came back, of all these shops at once."""
    people = {
        merchant_id: {
            event.person_id
            for event in (fact.event for fact in facts)
            if isinstance(event, pay.PaymentSucceeded | pay.RefundSucceeded)
        }
        for merchant_id, facts in facts_of.items()
    }
    told, shops = await _sort_out(tx, people)
    if not shops:
        return told
    pairs = [(merchant_id, person_id) for merchant_id in shops for person_id in people[merchant_id]]
    drops: dict[UUID, list[Drop]] = {merchant_id: [] for merchant_id in shops}
    for drop in await pool.shown_drops(tx, await reservoir.list_contacts_among(tx, pairs)):
        if drop.open_id:  # what cannot be told apart from a row that is there already would be shown twice
            drops[drop.contact.merchant_id].append(drop)
    fallen = await reservoir.count_first_meetings(tx, [fact for one in shops for fact in facts_of[one]])
    figures = await pool.read_pools(tx, list(shops), now.world, most_counted=_COUNTED)
    for merchant_id, merchant in shops.items():
        told[merchant_id] = _Pool(
            merchant=merchant,
            drops=drops[merchant_id],
            figures=figures[merchant_id],
            fallen=fallen.get(merchant_id, 0),
        ).write
    return told


async def _sort_out(tx: Tx, changed: Mapping[UUID, Collection[UUID]]) -> tuple[dict[UUID, Write], dict[UUID, Merchant]]:
    """By how much has changed: whose pages are to be loaded anew, and the merchants of whom rows are told."""
    told: dict[UUID, Write] = {merchant_id: _load_anew for merchant_id, rows in changed.items() if len(rows) > _ROWS}
    ids = [merchant_id for merchant_id, rows in changed.items() if 0 < len(rows) <= _ROWS]
    return told, {one.id: one for one in await merchants.list_merchants(tx, ids)} if ids else {}


#: Who composes for which kind of stream.
KINDS: Final = {_DAY: _tell_days, _POOL: _tell_pools}

ROUTES = [follow_day, follow_pool]
