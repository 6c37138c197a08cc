"""Sign-in: how a person comes in.

By a passkey that the browser finds by itself, asked for no name; on another device (`scans.py`); in a sandbox by one
tap, for people who were made for trying things out. Whichever it was, `entrance.py: welcome` opens a session of this
browser's own. Where the visitor was going is kept as `next`.
"""

from typing import Any

import msgspec
from litestar import Request, Response, get, post

from dewpond import identity
from dewpond.identity import ChallengeSpent, How, PasskeyRefused, Person, PersonId, PersonNotFound
from dewpond.kit import clock
from dewpond.kit.budgets import TooManyTries
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import from_text
from dewpond.web.ceremonies import OnwardAnswer
from dewpond.web.entrance import holder_of, pass_one_tap_door, ways_in, welcome
from dewpond.web.failures import AccessCodeWrong, NoPasskeyGiven, PersonGone
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, safe_path, wanted, with_next
from dewpond.web.sites import guest_of, site_of

#: How many people a sandbox offers to be.
_DOORS = 6


class _Tap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    person: str
    access_code: str = ""
    next: str = "/"


# --- by passkey -------------------------------------------------------------------------------------------------------


@get("/sign-in", opt=needs(Needs.NOBODY))
async def sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    """The ways in; who is in already goes on."""
    next_ = wanted(request)
    return go(next_) if guest_of(request) else await _ways_in(request, next_)


@post("/sign-in/passkey", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """Sign in whoever holds the passkey; it is a proof in person as well."""
    answer: OnwardAnswer = await form(request, OnwardAnswer)
    wall, next_ = clock.wall_now(), safe_path(answer.next)
    try:
        async with site_of(request).house.db.transaction() as tx:
            holder = await holder_of(request, tx, answer, wall_now=wall)
            return await welcome(request, tx, holder, next_, how=How.PASSKEY, is_proven=True, wall_now=wall)
    except (NoPasskeyGiven, ChallengeSpent, PasskeyRefused) as refusal:
        return await _ways_in(request, next_, refusal)


# --- in a sandbox -----------------------------------------------------------------------------------------------------


@post("/sign-in/one-tap", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_one_tap(request: Request[Any, Any, Any]) -> Response[Any]:
    """Be one of a sandbox's demo people. Nobody has proved anything by that: a step-up still asks for the PIN."""
    tap: _Tap = await form(request, _Tap)
    wall, next_ = clock.wall_now(), safe_path(tap.next)
    try:
        await pass_one_tap_door(request, tap.access_code)
        async with site_of(request).house.db.transaction() as tx:
            person = await _demo_person(tx, tap.person)
            return await welcome(request, tx, person.id, next_, how=How.ONE_TAP, is_proven=False, wall_now=wall)
    except (AccessCodeWrong, PersonGone, TooManyTries) as refusal:
        return await _ways_in(request, next_, refusal)


async def _demo_person(tx: Tx, text: str) -> Person:
    """Whom a door is for, or `PersonGone`: the page may be older than this world."""
    try:
        person = await identity.get_person(tx, PersonId(from_text("per", text)))
    except PersonNotFound:
        raise PersonGone from None
    if not person.is_demo:
        raise PersonGone
    return person


async def _ways_in(request: Request[Any, Any, Any], next_: str, refusal: Failure | None = None) -> Response[str]:
    """The page, with what went wrong where it belongs."""
    site = site_of(request)
    async with site.house.db.transaction() as tx:
        people = await identity.list_demo_people(tx, most=_DOORS) if site.is_sandbox else []
    return ways_in(request, "phone/sign_in.html", next_, refusal, join_path=with_next("/join", next_), people=people)


ROUTES = [sign_in, sign_in_by_passkey, sign_in_by_one_tap]
