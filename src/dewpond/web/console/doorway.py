"""The doorway: where somebody works, and their own account — password, passkeys, devices."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import identity, merchants
from dewpond.identity import ChallengeSpent, PasskeyRefused, PasskeyTaken, Realm
from dewpond.kit import clock
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.merchants import PasswordWeak, SignInLocked, SignInRefused
from dewpond.web.ceremonies import PasskeyAnswer, asked
from dewpond.web.console.proofs import must_prove
from dewpond.web.failures import NoPasskeyGiven, PasswordsDiffer, ProofStale, sentence, status_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.visitors import Visitor, device_name, device_of


class _NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: str
    again: str
    #: The one until now; empty where there is none yet.
    current: str = ""


@get("/", opt=needs(Needs.STAFF))
async def doorway(request: Request[Any, Any, Any]) -> Response[Any]:
    """The shops somebody works for, and the desk; straight in where there is only one door."""
    member = visitor_of(request).member
    assert member is not None
    async with site_of(request).house.db.transaction() as tx:
        works_for = await merchants.roles_of(tx, member.id)
    if member.is_operator and not works_for:
        return go("/desk")
    if len(works_for) == 1 and not member.is_operator:
        return go(f"/m/{works_for[0][0].number}")
    return page(request, "staff/doorway.html", member=member, works_for=works_for)


@get("/account", opt=needs(Needs.STAFF))
async def account(request: Request[Any, Any, Any]) -> Response[str]:
    """Somebody's own password, passkeys and devices."""
    return await _account(request)


async def _account(request: Request[Any, Any, Any], refusal: Failure | None = None) -> Response[str]:
    visitor = visitor_of(request)
    member, session, wall = visitor.member, visitor.session, clock.wall_now()
    assert member is not None
    async with site_of(request).house.db.transaction() as tx:
        passkeys = await identity.list_passkeys(tx, Realm.STAFF, member.id)
        sessions = await identity.list_sessions(tx, Realm.STAFF, member.id, wall_now=wall)
        has_password = await merchants.has_password(tx, member.id)
        is_stale = await must_prove(tx, visitor, wall)
    return page(
        request,
        "staff/account.html",
        status=200 if refusal is None else status_of(refusal),
        member=member,
        passkeys=passkeys,
        sessions=sessions,
        own_session_id=session.id,
        device_name=device_name,
        has_password=has_password,
        must_prove=is_stale,
        problem="" if refusal is None else sentence(refusal),
    )


async def _require_proof(tx: Tx, visitor: Visitor, wall_now: datetime) -> None:
    """Keys to an account are changed by who has just come in, not by whoever finds the browser open.

    Its page asks before it shows their forms, so that no new password waits in a page of hidden fields.
    """
    if await must_prove(tx, visitor, wall_now):
        raise ProofStale


@post("/account/password", status_code=303, opt=needs(Needs.STAFF))
async def change_password(request: Request[Any, Any, Any]) -> Response[Any]:
    """Set another password, with the one until now; other devices are signed out."""
    given: _NewPassword = await form(request, _NewPassword)
    visitor, house, wall = visitor_of(request), site_of(request).house, clock.wall_now()
    member = visitor.member
    assert member is not None
    try:
        if given.password != given.again:
            raise PasswordsDiffer
        async with house.db.transaction() as tx:
            asks_current = await merchants.has_password(tx, member.id)
            if not asks_current:
                await _require_proof(tx, visitor, wall)
        if asks_current:
            await merchants.check_password(
                house.db, member.sign_in_name, given.current, secrets=house.secrets, wall_now=wall
            )
        hashed = await merchants.hash_password(given.password, member)
        async with house.db.transaction() as tx:
            await merchants.set_password(tx, member.id, hashed, wall_now=wall)
            # Refused where somebody has made the account their own meanwhile: that has ended this session.
            await identity.prove_session(tx, visitor.session, wall)
            await identity.end_other_sessions(tx, visitor.session, wall_now=wall)
    except (PasswordsDiffer, ProofStale, PasswordWeak, SignInRefused, SignInLocked) as refusal:
        return await _account(request, refusal)
    return go("/account", said="saved")


@post("/account/passkeys/challenge", status_code=200, opt=needs(Needs.STAFF))
async def ask_for_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """A question to an authenticator that is to become one of this member's passkeys."""
    await form(request, Nothing)
    site, visitor, wall = site_of(request), visitor_of(request), clock.wall_now()
    assert visitor.member is not None
    async with site.house.db.transaction() as tx:
        await _require_proof(tx, visitor, wall)
        begun = await identity.begin_registration(
            tx,
            Realm.STAFF,
            visitor.member.id,
            holder_name=visitor.member.sign_in_name,
            party=site.party,
            session_id=visitor.session.id,
            wall_now=wall,
        )
    return asked(begun)


@post("/account/passkeys", status_code=303, opt=needs(Needs.STAFF))
async def add_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """Take the authenticator's answer."""
    answer: PasskeyAnswer = await form(request, PasskeyAnswer)
    site, visitor = site_of(request), visitor_of(request)
    try:
        challenge_id, response = answer.given()
        async with site.house.db.transaction() as tx:
            await _require_proof(tx, visitor, clock.wall_now())
            await merchants.add_passkey(
                tx,
                visitor.session,
                challenge_id,
                response,
                party=site.party,
                device=device_of(request),
                wall_now=clock.wall_now(),
            )
    except (NoPasskeyGiven, ProofStale, ChallengeSpent, PasskeyRefused, PasskeyTaken) as refusal:
        return await _account(request, refusal)
    return go("/account", said="saved")


@post("/account/passkeys/{passkey_id:uuid}/removal", status_code=303, opt=needs(Needs.STAFF))
async def remove_passkey(request: Request[Any, Any, Any], passkey_id: FromPath[UUID]) -> Response[Any]:
    """Let a passkey open nothing any more; the last one only where there is a password."""
    await form(request, Nothing)
    visitor = visitor_of(request)
    member = visitor.member
    assert member is not None
    try:
        async with site_of(request).house.db.transaction() as tx:
            await _require_proof(tx, visitor, clock.wall_now())
            other = await merchants.has_password(tx, member.id)
            await identity.remove_passkey(tx, Realm.STAFF, member.id, passkey_id, has_other_way=other)
    except (ProofStale, identity.LastPasskey) as refusal:
        return await _account(request, refusal)
    return go("/account", said="saved")


@post("/account/sessions/{session_id:uuid}/end", status_code=303, opt=needs(Needs.STAFF))
async def end_session(request: Request[Any, Any, Any], session_id: FromPath[UUID]) -> Redirect:
    """Sign one of one's own devices out."""
    await form(request, Nothing)
    visitor = visitor_of(request)
    async with site_of(request).house.db.transaction() as tx:
        holder = visitor.session.holder_id
        await identity.end_session(tx, Realm.STAFF, holder, session_id, wall_now=clock.wall_now())
    return go("/account", said="signed-out")


@post("/account/sessions/others/end", status_code=303, opt=needs(Needs.STAFF))
async def end_others(request: Request[Any, Any, Any]) -> Redirect:
    """Sign every other one of one's own devices out."""
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        await identity.end_other_sessions(tx, visitor_of(request).session, wall_now=clock.wall_now())
    return go("/account", said="others-signed-out")


ROUTES = [
    doorway,
    account,
    change_password,
    ask_for_passkey,
    add_passkey,
    remove_passkey,
    end_session,
    end_others,
]
