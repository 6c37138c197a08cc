"""Security: one page that shows a person what opens their wallet, and lets them take it away again.

Devices are here; passkeys, PIN and limits have pages of their own. Signing a device out asks for no proof: it can only
make things safer.
"""

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import identity, pay
from dewpond.identity import How, Passkey, Realm, Session
from dewpond.kit import clock
from dewpond.kit.ids import from_text, to_text
from dewpond.kit.money import Money
from dewpond.pay import Limits
from dewpond.web.entrance import leave
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page
from dewpond.web.phone.proofs import ways_to_prove
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.visitors import device_name
from dewpond.web.words import gettext, marked, moment, money

_HOW: Final = {
    How.PASSKEY: marked("Signed in by passkey"),
    How.SCAN: marked("Signed in with another device of yours"),
    How.ONE_TAP: marked("Signed in through the sandbox"),
}


class _Device(msgspec.Struct, frozen=True, kw_only=True):
    """A session as a person thinks of it."""

    name: str
    address: str
    how: str
    created_at: datetime
    seen_at: datetime
    path: str
    is_this: bool


class _Key(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey in the list."""

    name: str
    text: str
    path: str


@get("/security", opt=needs(Needs.PERSON))
async def security(request: Request[Any, Any, Any]) -> Response[str]:
    """Devices, passkeys, PIN and limits of this person."""
    site, session, wall = site_of(request), visitor_of(request).session, clock.wall_now()
    async with site.house.db.transaction() as tx:
        sessions = await identity.list_sessions(tx, Realm.PERSON, session.holder_id, wall_now=wall)
        passkeys = await identity.list_passkeys(tx, Realm.PERSON, session.holder_id)
        ways = await ways_to_prove(tx, session, wall_now=wall)
        limits = await pay.get_limits(tx, session.holder_id)
    return page(
        request,
        "phone/security.html",
        devices=[_device(one, session) for one in sorted(sessions, key=lambda one: one.id != session.id)],
        passkeys=[_key(one) for one in passkeys],
        ways=ways,
        limits_text=_in_words(limits),
    )


def _device(one: Session, this: Session) -> _Device:
    return _Device(
        name=device_name(one.device),
        address=one.address,
        how=gettext(_HOW.get(one.how, "")),
        created_at=one.created_at,
        seen_at=one.seen_at,
        path=f"/security/devices/{to_text('ses', one.id)}/sign-out",
        is_this=one.id == this.id,
    )


def _key(one: Passkey) -> _Key:
    used = gettext("Last used %(when)s") if one.last_used_at else gettext("Added %(when)s")
    return _Key(
        name=one.name,
        text=used % {"when": moment(one.last_used_at or one.created_at)},
        path=f"/security/passkeys/{to_text('pky', one.id)}",
    )


def _in_words(limits: Limits) -> str:
    said = [
        (gettext("%(sum)s a payment"), limits.per_payment_minor),
        (gettext("%(sum)s a day"), limits.per_day_minor),
        (gettext("up to %(sum)s without PIN"), limits.without_pin_minor),
    ]
    told = [text % {"sum": money(Money(minor, limits.currency))} for text, minor in said if minor]
    return gettext(", ").join(told) or gettext("None; every payment asks for passkey or PIN")


@post("/security/devices/{device:str}/sign-out", status_code=303, opt=needs(Needs.PERSON))
async def sign_device_out(request: Request[Any, Any, Any], device: FromPath[str]) -> Redirect:
    """End one of this person's sessions; whatever is not theirs, or over already, is left as it is."""
    session, session_id = visitor_of(request).session, from_text("ses", device)
    if session_id == session.id:
        return await leave(request)
    async with site_of(request).house.db.transaction() as tx:
        await identity.end_session(tx, Realm.PERSON, session.holder_id, session_id, wall_now=clock.wall_now())
    return go("/security", said="device-signed-out")


@post("/security/devices/sign-out", status_code=303, opt=needs(Needs.PERSON))
async def sign_others_out(request: Request[Any, Any, Any]) -> Redirect:
    """End every session of this person but this one."""
    async with site_of(request).house.db.transaction() as tx:
        await identity.end_other_sessions(tx, visitor_of(request).session, wall_now=clock.wall_now())
    return go("/security", said="others-signed-out")


ROUTES = [security, sign_device_out, sign_others_out]
