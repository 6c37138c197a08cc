"""The payment PIN's page: set, changed, or set anew by passkey when it was forgotten or is locked."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.response import Redirect

from dewpond import identity
from dewpond.identity import PersonId, PinInvalid
from dewpond.kit import clock
from dewpond.kit.failures import Failure
from dewpond.web.failures import PinsDiffer, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page, safe_path, with_next
from dewpond.web.phone.proofs import proof_first, ways_to_prove
from dewpond.web.sites import site_of, visitor_of

_NEW = "/security/pin/new"


class _NewPin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pin: str
    again: str
    first: str = ""
    next: str = "/security"


@get(_NEW, opt=needs(Needs.PERSON))
async def new_pin(request: Request[Any, Any, Any]) -> Response[Any]:
    """Where a PIN is chosen. `first` says that the account was just made: then it may be left for later."""
    first = request.query_params.get("first", "")
    next_ = safe_path(request.query_params.get("next", ""), "/" if first else "/security")
    return await _proof_needed(request, first, next_) or await _pin_page(request, first, next_)


@post("/security/pin", status_code=303, opt=needs(Needs.PERSON))
async def set_pin(request: Request[Any, Any, Any]) -> Response[Any]:
    """Let the PIN be this one; wrong tries of the old one are forgotten with it."""
    given: _NewPin = await form(request, _NewPin)
    site, session, next_ = site_of(request), visitor_of(request).session, safe_path(given.next, "/security")
    if away := await _proof_needed(request, given.first, next_):
        return away
    try:
        if given.pin != given.again:
            raise PinsDiffer
        async with site.house.db.transaction() as tx:
            await identity.set_pin(
                tx, PersonId(session.holder_id), given.pin, secrets=site.house.secrets, wall_now=clock.wall_now()
            )
    except (PinInvalid, PinsDiffer) as refusal:
        return await _pin_page(request, given.first, next_, refusal)
    return go(next_, said="pin-set")


async def _proof_needed(request: Request[Any, Any, Any], first: str, next_: str) -> Redirect | None:
    """The way to a proof, unless it is fresh, or there is nothing yet to prove anything by."""
    back = with_next(f"{_NEW}?first=yes" if first else _NEW, next_)
    away = proof_first(request, back=back)
    if away is None:
        return None
    site = site_of(request)
    async with site.house.db.transaction() as tx:
        ways = await ways_to_prove(tx, visitor_of(request).session, wall_now=clock.wall_now())
    return away if ways.has_any else None


async def _pin_page(
    request: Request[Any, Any, Any], first: str, next_: str, refusal: Failure | None = None
) -> Response[str]:
    site, session = site_of(request), visitor_of(request).session
    async with site.house.db.transaction() as tx:
        ways = await ways_to_prove(tx, session, wall_now=clock.wall_now())
    said = "" if refusal is None else sentence(refusal)
    return page(
        request,
        "phone/pin_new.html",
        status=200 if refusal is None else status_of(refusal),
        ways=ways,
        first=first,
        next=next_,
        pin_problem="" if isinstance(refusal, PinsDiffer) else said,
        again_problem=said if isinstance(refusal, PinsDiffer) else "",
    )


ROUTES = [new_pin, set_pin]
