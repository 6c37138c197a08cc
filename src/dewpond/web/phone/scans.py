"""Scans: signing in on a new device with the phone that is signed in already.

    new device                                   phone
    POST /sign-in/scan           a code          GET  /s/ID             who asks, from where, three numbers
    GET  /sign-in/scan/state     how far it is   POST /s/ID/approval    after a fresh proof
    POST /sign-in/scan/redemption                POST /s/ID/refusal

The browser that asked keeps a secret in a cookie of its own; without it the code signs nobody in. Without JavaScript
everything works by looking again.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.datastructures import Cookie
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import identity
from dewpond.identity import BegunScan, How, ScanSpent, ScanState
from dewpond.kit import clock
from dewpond.kit.ids import IdInvalid, from_text, to_text
from dewpond.web import budgets
from dewpond.web.entrance import welcome
from dewpond.web.failures import status_of
from dewpond.web.forms import Onward, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page, safe_path, wanted, with_next
from dewpond.web.phone.proofs import proof_first, ways_to_prove
from dewpond.web.qr import qr_picture
from dewpond.web.sites import Site, guest_of, site_of, visitor_of
from dewpond.web.visitors import address_of, device_name, device_of

_PATH: Final = "/sign-in/scan"


class _Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: Annotated[int, msgspec.Meta(ge=0, le=99)]


class _Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What the asking browser remembers of its code, in a cookie. Only the secret is worth anything to anybody."""

    id: UUID
    number: int
    expires_at: datetime
    secret: str

    def write(self) -> str:
        return f"{to_text('scn', self.id)}.{self.number}.{int(self.expires_at.timestamp())}.{self.secret}"

    @classmethod
    def read(cls, text: str) -> "_Shown | None":
        """None for what we did not write."""
        try:
            told, number, expires_at, secret = text.split(".")
            return cls(
                id=from_text("scn", told),
                number=int(number),
                expires_at=datetime.fromtimestamp(int(expires_at), UTC),
                secret=secret,
            )
        except (ValueError, OverflowError, OSError, IdInvalid):
            return None


# --- the new device ---------------------------------------------------------------------------------------------------


@get(_PATH, opt=needs(Needs.NOBODY))
async def show_code(request: Request[Any, Any, Any]) -> Response[Any]:
    """The code this browser asked for, and how far it has come; without one, the way to one."""
    next_, site, shown = wanted(request), site_of(request), _shown(request)
    if guest_of(request):
        return go(next_)
    state = await _state(site, shown)
    picture = ""
    if shown is not None and state is ScanState.WAITING:
        picture = qr_picture(f"{site.origin}/s/{to_text('scn', shown.id)}")
    return page(request, "phone/scan_code.html", picture=picture, **_told(next_, shown, state))


@get(f"{_PATH}/state", opt=needs(Needs.NOBODY))
async def show_state(request: Request[Any, Any, Any]) -> Response[Any]:
    """The part of the page that changes."""
    shown = _shown(request)
    state = await _state(site_of(request), shown)
    if state not in {ScanState.WAITING, ScanState.APPROVED}:  # the code itself has to go as well
        return Response("", status_code=200, headers={"HX-Refresh": "true"}, media_type=MediaType.HTML)
    return page(request, "phone/scan_state.html", **_told(wanted(request), shown, state))


@post(_PATH, status_code=303, opt=needs(Needs.NOBODY))
async def ask_for_code(request: Request[Any, Any, Any]) -> Redirect:
    """A new code for this browser; an older one of its leads nowhere any more."""
    wish: Onward = await form(request, Onward)
    await budgets.spend_of_address(request, budgets.SCANS)
    site, wall = site_of(request), clock.wall_now()
    async with site.house.db.transaction() as tx:
        begun = await identity.begin_scan(tx, device=device_of(request), address=address_of(request), wall_now=wall)
    answer = go(with_next(_PATH, safe_path(wish.next)))
    answer.set_cookie(_cookie(site, _remember(begun).write(), _seconds_until(begun.expires_at)))
    return answer


@post(f"{_PATH}/redemption", status_code=303, opt=needs(Needs.NOBODY))
async def redeem(request: Request[Any, Any, Any]) -> Response[Any]:
    """Sign in as who approved, once, in a session of this browser's own."""
    wish: Onward = await form(request, Onward)
    site, shown, wall, next_ = site_of(request), _shown(request), clock.wall_now(), safe_path(wish.next)
    try:
        async with site.house.db.transaction() as tx:
            if shown is None:
                raise ScanSpent
            person_id = await identity.redeem_scan(tx, shown.id, shown.secret, wall_now=wall)
            answer = await welcome(request, tx, person_id, next_, how=How.SCAN, is_proven=False, wall_now=wall)
    except ScanSpent as refusal:
        told = _told(next_, shown, ScanState.EXPIRED)
        return page(request, "phone/scan_code.html", status=status_of(refusal), picture="", **told)
    answer.set_cookie(_cookie(site, "", 0))
    if not request.headers.get("hx-request"):
        return answer
    # htmx would follow a redirect by itself and put the page it leads to inside of this one.
    return Response(
        "", status_code=200, headers={"HX-Redirect": next_}, cookies=answer.cookies, media_type=MediaType.HTML
    )


def _remember(begun: BegunScan) -> _Shown:
    return _Shown(id=begun.id, number=begun.number, expires_at=begun.expires_at, secret=begun.browser_secret)


def _shown(request: Request[Any, Any, Any]) -> _Shown | None:
    return _Shown.read(request.cookies.get(_cookie_name(site_of(request)), ""))


def _cookie_name(site: Site) -> str:
    return f"{'__Host-' if site.is_secure else ''}dewpond-scan"


def _cookie(site: Site, value: str, max_age: int) -> Cookie:
    return Cookie(
        key=_cookie_name(site),
        value=value,
        max_age=max_age,
        path="/",
        httponly=True,
        secure=site.is_secure,
        samesite="strict",
    )


async def _state(site: Site, shown: _Shown | None) -> ScanState | None:
    if shown is None:
        return None
    async with site.house.db.transaction() as tx:
        return await identity.get_scan_state(tx, shown.id, shown.secret, wall_now=clock.wall_now())


def _told(next_: str, shown: _Shown | None, state: ScanState | None) -> dict[str, Any]:
    return {
        "next": next_,
        "state": "" if state is None else str(state),
        "number": None if shown is None else shown.number,
        "seconds_left": 0 if shown is None else _seconds_until(shown.expires_at),
        "state_path": with_next(f"{_PATH}/state", next_),
        "here": with_next(_PATH, next_),
        "sign_in_path": with_next("/sign-in", next_),
    }


def _seconds_until(at: datetime) -> int:
    return max(0, int((at - clock.wall_now()).total_seconds()))


# --- the phone --------------------------------------------------------------------------------------------------------


@get("/s/{scan:str}", opt=needs(Needs.PERSON))
async def show_asker(request: Request[Any, Any, Any], scan: FromPath[str]) -> Response[Any]:
    """Which device asks to be let in, from where; and the three numbers, once there is a fresh proof."""
    site, session, wall = site_of(request), visitor_of(request).session, clock.wall_now()
    try:
        async with site.house.db.transaction() as tx:
            asking = await identity.get_scan(tx, from_text("scn", scan), wall_now=wall)
            ways = await ways_to_prove(tx, session, wall_now=wall)
    except ScanSpent as refusal:
        return _over(request, "spent", status_of(refusal))
    return page(
        request,
        "phone/scan_asks.html",
        scan=asking,
        device=device_name(asking.device),
        is_fresh=session.is_fresh(wall),
        ways=ways,
        next=f"/s/{scan}",
    )


@post("/s/{scan:str}/approval", status_code=303, opt=needs(Needs.PERSON))
async def approve(request: Request[Any, Any, Any], scan: FromPath[str]) -> Response[Any]:
    """Let the other device in, if the number is the one on its screen. A wrong one ends it."""
    choice: _Choice = await form(request, _Choice)
    scan_id, site = from_text("scn", scan), site_of(request)
    if away := proof_first(request, back=f"/s/{scan}"):
        return away
    try:
        async with site.house.db.transaction() as tx:
            state = await identity.approve_scan(
                tx, scan_id, visitor_of(request).session, choice.number, wall_now=clock.wall_now()
            )
    except ScanSpent as refusal:
        return _over(request, "spent", status_of(refusal))
    return go("/security", said="scan-approved") if state is ScanState.APPROVED else _over(request, "wrong", 403)


@post("/s/{scan:str}/refusal", status_code=303, opt=needs(Needs.PERSON))
async def refuse(request: Request[Any, Any, Any], scan: FromPath[str]) -> Response[Any]:
    """Say no, which needs no proof."""
    site = site_of(request)
    try:
        async with site.house.db.transaction() as tx:
            await identity.refuse_scan(tx, from_text("scn", scan), wall_now=clock.wall_now())
    except ScanSpent as refusal:
        return _over(request, "spent", status_of(refusal))
    return go("/security", said="scan-refused")


def _over(request: Request[Any, Any, Any], why: str, status: int) -> Response[str]:
    return page(request, "phone/scan_over.html", status=status, why=why)


ROUTES = [show_code, show_state, ask_for_code, redeem, show_asker, approve, refuse]
