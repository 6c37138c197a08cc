"""Proofs: whoever is at work shows again that it is they, before what nobody may do who merely finds a browser open.

    given: _Newcomer = await form(request, _Newcomer)          # a Provable
    if away := await proof_first(request, given, gettext("You are about to invite a new colleague."), back=page):
        return away

A form that comes too long after the last proof is answered by a page that asks for password or passkey and keeps what
was typed; from there the same form goes to the same place once more, and the proof with it. Nothing is typed twice, and
what was meant is done at once. A proof holds for five minutes, in its session only. An account that is nobody's yet, as
in a new sandbox, has nothing by which to prove anything, and is not asked.
"""

from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, Response, get, post

from dewpond import identity, merchants
from dewpond.identity import ChallengeSpent, PasskeyRefused, PasskeyUnknown, Realm
from dewpond.kit import clock
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.merchants import SignInLocked, SignInRefused, StaffMember
from dewpond.web.ceremonies import PasskeyAnswer, asked
from dewpond.web.failures import ProofStale, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page, safe_path, wanted
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.visitors import Visitor
from dewpond.web.words import gettext


class Provable(PasskeyAnswer, frozen=True, kw_only=True):
    """A form that may bring a proof of its sender along, by passkey or by password. What else it says is text."""

    proof_password: str = ""


class _Onward(Provable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    next: str = "/"


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """By what somebody can prove that it is they; by nothing, as long as the account is nobody's own."""

    has_passkey: bool
    has_password: bool


async def ways_to_prove(tx: Tx, member: StaffMember) -> Ways:
    """What a page has to offer to this member of staff."""
    return Ways(
        has_passkey=bool(await identity.list_passkeys(tx, Realm.STAFF, member.id)),
        has_password=await merchants.has_password(tx, member.id),
    )


async def must_prove(tx: Tx, visitor: Visitor, wall_now: datetime) -> bool:
    """Whether the last proof is too old, and another one can be given."""
    assert visitor.member is not None
    return not visitor.session.is_fresh(wall_now) and bool(await merchants.list_claimed(tx, [visitor.member.id]))


async def proof_first(request: Request[Any, Any, Any], given: Provable, act: str, *, back: str) -> Response[Any] | None:
    """None where the last proof is fresh, or the form has brought one that is right: go on. Else the page that asks.

    `act` says what will be done next, so that nobody proves themselves for something else; `back` is where one gets
    who does nothing of it.
    """
    async with site_of(request).house.db.transaction() as tx:
        if not await must_prove(tx, visitor_of(request), clock.wall_now()):
            return None
    refusal = None
    if given.proof_password or given.response:
        refusal = await _prove(request, given)
        if refusal is None:
            return None
    return await _proof_page(request, given, act, back, refusal)


async def _prove(request: Request[Any, Any, Any], given: Provable) -> Failure | None:
    """Make the session fresh by what came with the form; or say what is wrong with it."""
    site, visitor, wall = site_of(request), visitor_of(request), clock.wall_now()
    house, member, session = site.house, visitor.member, visitor.session
    assert member is not None
    try:
        if given.challenge_id is not None:
            async with house.db.transaction() as tx:
                await identity.finish_proof(
                    tx, session, given.challenge_id, given.response, party=site.party, wall_now=wall
                )
        else:
            await merchants.check_password(
                house.db, member.sign_in_name, given.proof_password, secrets=house.secrets, wall_now=wall
            )
            async with house.db.transaction() as tx:
                await identity.prove_session(tx, session, wall)
    except (ChallengeSpent, PasskeyRefused, PasskeyUnknown, SignInRefused, SignInLocked) as refusal:
        return refusal
    return None


async def _proof_page(
    request: Request[Any, Any, Any], given: Provable, act: str, back: str, refusal: Failure | None
) -> Response[str]:
    member = visitor_of(request).member
    assert member is not None
    async with site_of(request).house.db.transaction() as tx:
        ways = await ways_to_prove(tx, member)
    is_of_password, told = isinstance(refusal, SignInRefused | SignInLocked), msgspec.to_builtins(given)
    said = "" if refusal is None else sentence(refusal)
    if isinstance(refusal, SignInRefused):
        said = gettext("That is not your password.")  # whose name it is, nobody asks here
    return page(
        request,
        "staff/proof.html",
        status=200 if request.method == "GET" else status_of(refusal or ProofStale()),
        member=member,
        ways=ways,
        act=act,
        back=back,
        told={name: told[name] for name in told if name not in Provable.__struct_fields__},
        problem="" if is_of_password else said,
        password_problem=said if is_of_password else "",
    )


@get("/proof", opt=needs(Needs.STAFF))
async def proof(request: Request[Any, Any, Any]) -> Response[Any]:
    """For pages that ask for a proof before they show anything: it leads on to `next`."""
    next_ = wanted(request)
    return await proof_first(request, _Onward(next=next_), "", back=next_) or go(next_)


@post("/proof", status_code=303, opt=needs(Needs.STAFF))
async def prove(request: Request[Any, Any, Any]) -> Response[Any]:
    """Take the proof, and lead on."""
    given: _Onward = await form(request, _Onward)
    next_ = safe_path(given.next)
    return await proof_first(request, given, "", back=next_) or go(next_)


@post("/proof/passkey/challenge", status_code=200, opt=needs(Needs.STAFF))
async def ask_for_proof(request: Request[Any, Any, Any]) -> Response[Any]:
    """A question to this member's own passkeys. The form it is asked for comes along, and is not looked at."""
    site = site_of(request)
    async with site.house.db.transaction() as tx:
        begun = await identity.begin_proof(tx, visitor_of(request).session, party=site.party, wall_now=clock.wall_now())
    return asked(begun)


ROUTES = [proof, prove, ask_for_proof]
