"""Sign-in: how a person comes in, and goes.

By a passkey that the browser finds by itself, asked for no name; on another device (`scans.py`); in a sandbox by one
tap, for people who were made for trying things out. Whichever it was, `welcome` opens a session of this browser's own.
Where the visitor was going is kept as `next`.
"""

from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.response import Redirect

from dewpond import identity
from dewpond.identity import Begun, ChallengeSpent, How, PasskeyRefused, Person, PersonId, PersonNotFound, Realm
from dewpond.kit import clock, worlds
from dewpond.kit.budgets import TooManyTries
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import from_text
from dewpond.web import budgets
from dewpond.web.failures import AccessCodeWrong, NoPasskeyGiven, PersonGone, patience, sentence, status_of
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page, safe_path
from dewpond.web.sites import form, site_of, visitor_of
from dewpond.web.visitors import Visitor

#: How many people a sandbox offers to be.
_DOORS = 6


class PasskeyAnswer(msgspec.Struct, frozen=True):
    """What `passkeys.js` sends after the authenticator has answered; without JavaScript there is nothing in it."""

    challenge_id: UUID | None = None
    response: str = ""

    def given(self) -> tuple[UUID, str]:
        """The question and its answer, or `NoPasskeyGiven`."""
        if self.challenge_id is None or not self.response:
            raise NoPasskeyGiven
        return self.challenge_id, self.response


class _SignIn(PasskeyAnswer, frozen=True, forbid_unknown_fields=True):
    next: str = "/"


class _Tap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    person: str
    access_code: str = ""
    next: str = "/"


class _Next(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    next: str = "/"


def asked(begun: Begun) -> Response[Any]:
    """A question to an authenticator, as `passkeys.js` takes it."""
    told = {"challenge_id": str(begun.challenge_id), "options": msgspec.Raw(begun.options.encode())}
    return Response(told, media_type=MediaType.JSON, status_code=200, headers={"Cache-Control": "no-store"})


def wanted(request: Request[Any, Any, Any]) -> str:
    """Where the visitor was going, as the address says."""
    return safe_path(request.query_params.get("next", "/"))


def with_next(path: str, next_: str) -> str:
    """A page that leads on to another one afterwards."""
    return path if next_ == "/" else f"{path}{'&' if '?' in path else '?'}next={quote(next_, safe='/')}"


def guest_of(request: Request[Any, Any, Any]) -> Visitor | None:
    """Who visits a page that is for nobody in particular, if anybody."""
    visitor: Visitor | None = request.scope["state"]["visitor"]
    return visitor


async def welcome(
    request: Request[Any, Any, Any],
    tx: Tx,
    person_id: PersonId,
    path: str,
    *,
    how: How,
    is_proven: bool,
    wall_now: datetime,
) -> Redirect:
    """Sign a person in and lead on to `path`.

    The session is new, whatever cookie the browser came with; the one it had before is over.
    """
    site, before = site_of(request), guest_of(request)
    if before is not None:
        await identity.end_session(tx, Realm.PERSON, before.session.holder_id, before.session.id, wall_now=wall_now)
    cookie = await site.visitors.sign_in(tx, request, person_id, how=how, wall_now=wall_now, is_proven=is_proven)
    answer = go(path)
    answer.set_cookie(cookie)
    return answer


# --- by passkey -------------------------------------------------------------------------------------------------------


@get("/sign-in", opt=needs(Needs.NOBODY))
async def sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    """The ways in; who is in already goes on."""
    next_ = wanted(request)
    return go(next_) if guest_of(request) else await _ways_in(request, next_)


@post("/sign-in/passkey/challenge", status_code=200, opt=needs(Needs.NOBODY))
async def ask_to_sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    """A question to whatever passkey is at hand; no name is asked."""
    await form(request, _Next)
    await budgets.spend_of_address(request, budgets.CHALLENGES)
    site = site_of(request)
    async with site.house.db.transaction() as tx:
        begun = await identity.begin_sign_in(tx, Realm.PERSON, party=site.party, wall_now=clock.wall_now())
    return asked(begun)


@post("/sign-in/passkey", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """Sign in whoever holds the passkey; it is a proof in person as well."""
    answer: _SignIn = await form(request, _SignIn)
    site, wall, next_ = site_of(request), clock.wall_now(), safe_path(answer.next)
    try:
        challenge_id, response = answer.given()
        async with site.house.db.transaction() as tx:
            passkey = await identity.finish_sign_in(
                tx, challenge_id, response, realm=Realm.PERSON, party=site.party, wall_now=wall
            )
            holder = PersonId(passkey.holder_id)
            return await welcome(request, tx, holder, next_, how=How.PASSKEY, is_proven=True, wall_now=wall)
    except (NoPasskeyGiven, ChallengeSpent, PasskeyRefused) as refusal:
        return await _ways_in(request, next_, refusal)


# --- in a sandbox -----------------------------------------------------------------------------------------------------


@post("/sign-in/one-tap", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_one_tap(request: Request[Any, Any, Any]) -> Response[Any]:
    """Be one of a sandbox's demo people. Nobody has proved anything by that: a step-up still asks for the PIN."""
    tap: _Tap = await form(request, _Tap)
    site, wall, next_ = site_of(request), clock.wall_now(), safe_path(tap.next)
    try:
        async with site.house.db.transaction() as tx:
            await worlds.require_sandbox(tx)
        await budgets.check_access_code(request, tap.access_code)
        async with site.house.db.transaction() as tx:
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
    said = "" if refusal is None else sentence(refusal)
    is_of_code = isinstance(refusal, AccessCodeWrong | TooManyTries)
    answer = page(
        request,
        "phone/sign_in.html",
        status=200 if refusal is None else status_of(refusal),
        next=next_,
        join_path=with_next("/join", next_),
        people=people,
        asks_code=bool(site.house.settings.access_code),
        problem="" if is_of_code else said,
        code_problem=said if is_of_code else "",
    )
    answer.headers |= patience(refusal)
    return answer


# --- and out ----------------------------------------------------------------------------------------------------------


@post("/sign-out", status_code=303, opt=needs(Needs.PERSON))
async def sign_out(request: Request[Any, Any, Any]) -> Redirect:
    """End this browser's session, at once and everywhere it may have been copied to."""
    site, session = site_of(request), visitor_of(request).session
    async with site.house.db.transaction() as tx:
        await identity.end_session(tx, Realm.PERSON, session.holder_id, session.id, wall_now=clock.wall_now())
    answer = go("/sign-in", said="signed-out")
    site.visitors.forget(answer)
    return answer


ROUTES = [sign_in, ask_to_sign_in, sign_in_by_passkey, sign_in_by_one_tap, sign_out]
