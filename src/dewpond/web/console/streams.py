"""The console's event streams: what open pages are told of new payments, refunds and drops.

Two kinds: the shop's day, for everybody who works there, and the pool, for those who may see it; names of the pool go
to nobody else. A message holds pieces of the page in place of older ones: rows by the id of what they show, figures and
charts whole.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

from litestar import Request, get
from litestar.response import Stream

from dewpond import identity, merchants, pay, reservoir
from dewpond.identity import Realm
from dewpond.kit import clock
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.outbox import Fact
from dewpond.merchants import Capability
from dewpond.web import words
from dewpond.web.console.pool import read_pool, shown_drops
from dewpond.web.console.shops import shown
from dewpond.web.console.today import read_figures
from dewpond.web.failures import Crowded
from dewpond.web.live import Guest, Patch, Telling
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


@get("/m/{mchid:str}/live", opt={NEEDS: Capability.TODAY, "live": True})
async def follow_day(request: Request[Any, Any, Any]) -> Stream:
    """What happens to a shop from now on, or from the position the browser names."""
    return _listen(request, _DAY, Capability.TODAY)


@get("/m/{mchid:str}/pool/live", opt={NEEDS: Capability.POOL, "live": True})
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
        token=request.cookies.get(site.visitors.cookie_name, ""),
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
    """Those who are signed in as before and whose role still has what they listen to. Being asked prolongs nothing."""
    tokens = list({guest.token for guest in guests})
    sessions = await identity.find_sessions(tx, tokens, Realm.STAFF, wall_now=clock.wall_now())
    signed_in = {token for token, session in zip(tokens, sessions, strict=True) if session is not None}
    places = {(guest.staff_id, guest.merchant_id) for guest in guests if guest.token in signed_in}
    roles = await merchants.roles_among(tx, places)
    return {
        guest
        for guest in guests
        if guest.token in signed_in
        and (role := roles.get((guest.staff_id, guest.merchant_id))) is not None
        and guest.need in merchants.CAPABILITIES[role]
    }


# --- what is told -----------------------------------------------------------------------------------------------------


async def _tell_day(tx: Tx, merchant_id: UUID, facts: Sequence[Fact], now: Now) -> Telling | None:
    """New payments go to the top of the list; what was given back changes where it stands."""
    events = [fact.event for fact in facts]
    paid = {event.payment_id for event in events if isinstance(event, pay.PaymentSucceeded)}
    touched = paid | {event.payment_id for event in events if isinstance(event, pay.RefundEnded)}
    if not touched:
        return None
    if len(touched) > _ROWS:
        return Telling(reload=True)
    merchant = await merchants.get_merchant(tx, merchant_id)
    payments = await pay.list_payments(tx, [(merchant_id, payment_id) for payment_id in touched])
    payments.sort(key=lambda one: (one.opened_at, one.id), reverse=True)
    rows = await shown(tx, merchant, payments, now.world)
    new = [row for row in rows if row.payment.id in paid]
    changed = [row for row in rows if row.payment.id not in paid]
    figures = await read_figures(tx, merchant, now.world)
    drops = await reservoir.count_first_meetings(tx, merchant_id, facts)
    pieces = render("console/pieces.html", merchant=merchant, new=new, changed=changed, **figures)
    figures_html, hours_html, new_html, *changed_html = (part.strip() for part in pieces.split(_CUT))
    html = {"#figures": Patch(how="replace", html=figures_html), "#hours": Patch(how="replace", html=hours_html)}
    if new:
        html |= {"#payments": Patch(how="prepend", html=new_html), "#no-payments": Patch(how="replace", html="")}
    html |= {
        f"#payment-{row.payment.id}": Patch(how="replace", html=piece)
        for row, piece in zip(changed, changed_html, strict=True)
    }
    return Telling(html=html, drops=drops)


async def _tell_pool(tx: Tx, merchant_id: UUID, facts: Sequence[Fact], now: Now) -> Telling | None:
    """Whoever came or came back goes to the top of the list."""
    events = [fact.event for fact in facts]
    people = {event.person_id for event in events if isinstance(event, pay.PaymentSucceeded | pay.RefundSucceeded)}
    if not people:
        return None
    if len(people) > _ROWS:
        return Telling(reload=True)
    merchant = await merchants.get_merchant(tx, merchant_id)
    drops = await shown_drops(tx, await reservoir.list_contacts_among(tx, merchant_id, list(people)), now.wall)
    fallen = await reservoir.count_first_meetings(tx, merchant_id, facts)
    known = await read_pool(tx, merchant, now.world, most_counted=_COUNTED)
    pieces = render("console/pool_pieces.html", merchant=merchant, drops=drops, **known)
    people_html, spent_html, others_html, returning_html, days_html, rows_html = (
        part.strip() for part in pieces.split(_CUT)
    )
    places = {"#people": people_html, "#spent": spent_html, "#spent-others": others_html, "#pool-days": days_html}
    if returning_html:
        places["#returning"] = returning_html
    html = {selector: Patch(how="replace", html=piece) for selector, piece in places.items()}
    html |= {"#drops": Patch(how="prepend", html=rows_html), "#no-drops": Patch(how="replace", html="")}
    return Telling(html=html, drops=fallen)


#: Who composes for which kind of stream.
KINDS: Final = {_DAY: _tell_day, _POOL: _tell_pool}

ROUTES = [follow_day, follow_pool]
