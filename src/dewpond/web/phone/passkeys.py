"""Passkeys: a person's own list. Who adds or removes one has just proved who they are; a name is changed without."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import identity
from dewpond.identity import ChallengeSpent, LastPasskey, NameInvalid, PasskeyRefused, PasskeyTaken, Realm
from dewpond.kit import clock
from dewpond.kit.failures import Failure
from dewpond.kit.ids import from_text
from dewpond.web.ceremonies import PasskeyAnswer, asked
from dewpond.web.failures import NoPasskeyGiven, ProofStale, sentence, status_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page
from dewpond.web.phone.proofs import proof_first
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.visitors import device_of

_NEW = "/security/passkeys/new"


class _Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


@get(_NEW, opt=needs(Needs.PERSON))
async def new_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """Where a passkey is added."""
    return proof_first(request, back=_NEW) or page(request, "phone/passkey_new.html", problem="")


@post("/security/passkeys/challenge", status_code=200, opt=needs(Needs.PERSON))
async def ask_for_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """Ask this device's authenticator for a new passkey. Refuses with `ProofStale` without a fresh proof."""
    await form(request, Nothing)
    site, visitor, wall = site_of(request), visitor_of(request), clock.wall_now()
    if not visitor.session.is_fresh(wall):
        raise ProofStale
    async with site.house.db.transaction() as tx:
        begun = await identity.begin_registration(
            tx,
            Realm.PERSON,
            visitor.session.holder_id,
            holder_name=visitor.name,
            party=site.party,
            session_id=visitor.session.id,
            wall_now=wall,
        )
    return asked(begun)


@post("/security/passkeys", status_code=303, opt=needs(Needs.PERSON))
async def add_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """Keep what the authenticator has made; that it was asked for after a fresh proof is in the question."""
    made: PasskeyAnswer = await form(request, PasskeyAnswer)
    site, session = site_of(request), visitor_of(request).session
    try:
        challenge_id, response = made.given()
        async with site.house.db.transaction() as tx:
            await identity.finish_registration(
                tx,
                challenge_id,
                response,
                realm=Realm.PERSON,
                party=site.party,
                session_id=session.id,
                device=device_of(request),
                wall_now=clock.wall_now(),
            )
    except (NoPasskeyGiven, ChallengeSpent, PasskeyRefused, PasskeyTaken) as refusal:
        return page(request, "phone/passkey_new.html", status=status_of(refusal), problem=sentence(refusal))
    return go("/security", said="passkey-added")


@get("/security/passkeys/{passkey:str}", opt=needs(Needs.PERSON))
async def show_passkey(request: Request[Any, Any, Any], passkey: FromPath[str]) -> Response[str]:
    """One passkey of this person's."""
    return await _passkey_page(request, passkey)


@post("/security/passkeys/{passkey:str}/name", status_code=303, opt=needs(Needs.PERSON))
async def rename_passkey(request: Request[Any, Any, Any], passkey: FromPath[str]) -> Response[Any]:
    """Give a passkey this person's word for it."""
    given: _Name = await form(request, _Name)
    holder_id, passkey_id = visitor_of(request).session.holder_id, from_text("pky", passkey)
    try:
        async with site_of(request).house.db.transaction() as tx:
            await identity.rename_passkey(tx, Realm.PERSON, holder_id, passkey_id, given.name)
    except NameInvalid as refusal:
        return await _passkey_page(request, passkey, name=given.name, refusal=refusal)
    return go("/security", said="saved")


@post("/security/passkeys/{passkey:str}/removal", status_code=303, opt=needs(Needs.PERSON))
async def remove_passkey(request: Request[Any, Any, Any], passkey: FromPath[str]) -> Response[Any]:
    """Take a passkey away after a fresh proof; the only way in stays."""
    site, visitor, passkey_id = site_of(request), visitor_of(request), from_text("pky", passkey)
    away: Redirect | None = proof_first(request, back=f"/security/passkeys/{passkey}")
    if away is not None:
        return away
    assert visitor.person is not None
    try:
        async with site.house.db.transaction() as tx:
            await identity.remove_passkey(
                tx,
                Realm.PERSON,
                visitor.session.holder_id,
                passkey_id,
                has_other_way=visitor.person.is_demo,  # the sandbox's door
            )
    except LastPasskey as refusal:
        return await _passkey_page(request, passkey, refusal=refusal)
    return go("/security", said="passkey-removed")


async def _passkey_page(
    request: Request[Any, Any, Any], passkey: str, *, name: str | None = None, refusal: Failure | None = None
) -> Response[str]:
    passkey_id = from_text("pky", passkey)
    async with site_of(request).house.db.transaction() as tx:
        held = await identity.list_passkeys(tx, Realm.PERSON, visitor_of(request).session.holder_id)
    found = next((one for one in held if one.id == passkey_id), None)
    if found is None:
        raise NotFoundException
    is_of_name = isinstance(refusal, NameInvalid)
    said = "" if refusal is None else sentence(refusal)
    return page(
        request,
        "phone/passkey.html",
        status=200 if refusal is None else status_of(refusal),
        passkey=found,
        here=f"/security/passkeys/{passkey}",
        name=found.name if name is None else name,
        name_problem=said if is_of_name else "",
        problem="" if is_of_name else said,
    )


ROUTES = [new_passkey, ask_for_passkey, add_passkey, show_passkey, rename_passkey, remove_passkey]
