"""Newcomers: somebody makes an account. A name and a passkey, nothing else.

The person's id is made first, because the authenticator has to know it; person, wallet, passkey and session then come
into being in one transaction, or not at all. A sandbox takes a name and a PIN as well, for browsers that cannot make
passkeys where they are; such an account has the one-tap door, and says so.
"""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException

from dewpond import identity, pay
from dewpond.identity import (
    ChallengeSpent,
    How,
    NameInvalid,
    PasskeyRefused,
    PasskeyTaken,
    PersonId,
    PinInvalid,
    Realm,
)
from dewpond.kit import clock, worlds
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.names import is_name
from dewpond.web import budgets
from dewpond.web.ceremonies import OnwardAnswer, asked
from dewpond.web.entrance import pass_one_tap_door, welcome
from dewpond.web.failures import AccessCodeWrong, NoPasskeyGiven, PinsDiffer, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page, safe_path, wanted, with_next
from dewpond.web.sites import guest_of, site_of
from dewpond.web.visitors import device_of


class _Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    next: str = "/"


class _Newcomer(OnwardAnswer, frozen=True):
    name: str = ""


class _WithPin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    pin: str
    again: str
    access_code: str = ""
    next: str = "/"


# --- by passkey -------------------------------------------------------------------------------------------------------


@get("/join", opt=needs(Needs.NOBODY))
async def join(request: Request[Any, Any, Any]) -> Response[Any]:
    """Where an account is made; who has one and is in goes on."""
    next_ = wanted(request)
    return go(next_) if guest_of(request) else _join_page(request, next_)


@post("/join/challenge", status_code=200, opt=needs(Needs.NOBODY))
async def ask_newcomer(request: Request[Any, Any, Any]) -> Response[Any]:
    """Ask the authenticator for a passkey for somebody of this name; an unusable name is refused before that."""
    wish: _Name = await form(request, _Name)
    site, name = site_of(request), wish.name.strip()
    if not is_name(name):
        raise NameInvalid(name=name)
    await budgets.spend_of_address(request, budgets.CHALLENGES)
    async with site.house.db.transaction() as tx:
        begun = await identity.begin_registration(
            tx,
            Realm.PERSON,
            new_id(),
            holder_name=name,
            party=site.party,
            session_id=None,
            wall_now=clock.wall_now(),
        )
    return asked(begun)


@post("/join", status_code=303, opt=needs(Needs.NOBODY))
async def create_newcomer(request: Request[Any, Any, Any]) -> Response[Any]:
    """Make the account whose passkey was just made, sign it in, and ask for a payment PIN next."""
    given: _Newcomer = await form(request, _Newcomer)
    site, next_ = site_of(request), safe_path(given.next)
    try:
        challenge_id, response = given.given()
        await budgets.spend_of_address(request, budgets.ACCOUNTS, of_all=budgets.ALL_ACCOUNTS)
        async with site.house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            passkey = await identity.finish_registration(
                tx,
                challenge_id,
                response,
                realm=Realm.PERSON,
                party=site.party,
                session_id=None,
                device=device_of(request),
                wall_now=now.wall,
            )
            person = await identity.create_person(
                tx, given.name, wall_now=now.wall, person_id=PersonId(passkey.holder_id)
            )
            await pay.open_wallets(tx, [person.id], now=now)
            path = with_next("/security/pin/new?first=yes", next_)
            return await welcome(request, tx, person.id, path, how=How.PASSKEY, is_proven=True, wall_now=now.wall)
    except (NoPasskeyGiven, ChallengeSpent, PasskeyRefused, PasskeyTaken, NameInvalid) as refusal:
        return _join_page(request, next_, name=given.name, refusal=refusal)


def _join_page(
    request: Request[Any, Any, Any], next_: str, *, name: str = "", refusal: Failure | None = None
) -> Response[str]:
    is_of_name = isinstance(refusal, NameInvalid)
    said = "" if refusal is None else sentence(refusal)
    return page(
        request,
        "phone/join.html",
        status=200 if refusal is None else status_of(refusal),
        next=next_,
        name=name,
        sign_in_path=with_next("/sign-in", next_),
        pin_path=with_next("/join/with-pin", next_),
        problem="" if is_of_name else said,
        name_problem=said if is_of_name else "",
    )


# --- in a sandbox -----------------------------------------------------------------------------------------------------


@get("/join/with-pin", opt=needs(Needs.NOBODY))
async def join_with_pin(request: Request[Any, Any, Any]) -> Response[Any]:
    """Where a sandbox makes an account without a passkey; a live world has no such page."""
    if not site_of(request).is_sandbox:
        raise NotFoundException
    next_ = wanted(request)
    return go(next_) if guest_of(request) else _pin_page(request, next_)


@post("/join/with-pin", status_code=303, opt=needs(Needs.NOBODY))
async def create_newcomer_with_pin(request: Request[Any, Any, Any]) -> Response[Any]:
    """Make an account with a payment PIN and the sandbox's one-tap door. Like every such door it asks for the code."""
    given: _WithPin = await form(request, _WithPin)
    site, next_ = site_of(request), safe_path(given.next)
    try:
        await pass_one_tap_door(request, given.access_code)
        if given.pin != given.again:
            raise PinsDiffer
        await budgets.spend_of_address(request, budgets.ACCOUNTS, of_all=budgets.ALL_ACCOUNTS)
        async with site.house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            person = await identity.create_person(tx, given.name, wall_now=now.wall, is_demo=True)
            await identity.set_pin(tx, person.id, given.pin, secrets=site.house.secrets, wall_now=now.wall)
            await pay.open_wallets(tx, [person.id], now=now)
            return await welcome(request, tx, person.id, next_, how=How.ONE_TAP, is_proven=True, wall_now=now.wall)
    except (AccessCodeWrong, NameInvalid, PinInvalid, PinsDiffer) as refusal:
        return _pin_page(request, next_, name=given.name, refusal=refusal)


def _pin_page(
    request: Request[Any, Any, Any], next_: str, *, name: str = "", refusal: Failure | None = None
) -> Response[str]:
    problems = {NameInvalid: "name", PinInvalid: "pin", PinsDiffer: "again", AccessCodeWrong: "access_code"}
    return page(
        request,
        "phone/join_with_pin.html",
        status=200 if refusal is None else status_of(refusal),
        next=next_,
        name=name,
        join_path=with_next("/join", next_),
        asks_code=bool(site_of(request).house.settings.access_code),
        problems={} if refusal is None else {problems[type(refusal)]: sentence(refusal)},
    )


ROUTES = [join, ask_newcomer, create_newcomer, join_with_pin, create_newcomer_with_pin]
