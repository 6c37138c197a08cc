"""Proofs: who is signed in shows again that it is they, before something that a found phone must not be able to do.

    if away := proof_first(request, back="/security/limits"):
        return away

By passkey, or by the payment PIN, whose tries are counted here as everywhere. A proof holds for five minutes, in this
session only.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.response import Redirect

from dewpond import identity
from dewpond.identity import (
    ChallengeSpent,
    PasskeyRefused,
    PasskeyUnknown,
    PersonId,
    PinInvalid,
    PinLocked,
    PinNotSet,
    PinTries,
    PinWrong,
    Realm,
    Session,
)
from dewpond.kit import clock
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.web.ceremonies import OnwardAnswer, asked
from dewpond.web.failures import NoPasskeyGiven, sentence, status_of
from dewpond.web.forms import Onward, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page, safe_path, wanted, with_next
from dewpond.web.sites import site_of, visitor_of


class _Typed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pin: str
    next: str = "/"


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """By what a person can prove that it is they, as things stand."""

    has_passkey: bool
    has_pin: bool
    #: Wall time; None where the PIN is not locked.
    pin_locked_until: datetime | None
    #: How long it stays locked.
    pin_locked_for: timedelta = timedelta()

    @property
    def has_any(self) -> bool:
        """False only for who was let in by a sandbox's door and has set nothing up yet."""
        return self.has_passkey or self.has_pin


def proof_first(request: Request[Any, Any, Any], back: str) -> Redirect | None:
    """The way to a proof, which then leads to `back`; None where the last one is fresh."""
    if visitor_of(request).session.is_fresh(clock.wall_now()):
        return None
    return go(with_next("/proof", back))


async def ways_to_prove(tx: Tx, session: Session, *, wall_now: datetime) -> Ways:
    """What the page of a proof has to offer to whoever is signed in. It only looks: a page waits for no payment."""
    person_id = PersonId(session.holder_id)
    pin = await identity.find_pin_state(tx, person_id)
    until = pin.locked_until if pin is not None and pin.is_locked(wall_now) else None
    return Ways(
        has_passkey=bool(await identity.list_passkeys(tx, Realm.PERSON, person_id)),
        has_pin=pin is not None,
        pin_locked_until=until,
        pin_locked_for=timedelta() if until is None else until - wall_now,
    )


@get("/proof", opt=needs(Needs.PERSON))
async def proof(request: Request[Any, Any, Any]) -> Response[Any]:
    """Where the proof is asked; who has just given one goes on."""
    next_ = wanted(request)
    return go(next_) if proof_first(request, next_) is None else await _proof_page(request, next_)


@post("/proof/passkey/challenge", status_code=200, opt=needs(Needs.PERSON))
async def ask_for_proof(request: Request[Any, Any, Any]) -> Response[Any]:
    """A question to this person's own passkeys."""
    await form(request, Onward)
    site = site_of(request)
    async with site.house.db.transaction() as tx:
        begun = await identity.begin_proof(tx, visitor_of(request).session, party=site.party, wall_now=clock.wall_now())
    return asked(begun)


@post("/proof/passkey", status_code=303, opt=needs(Needs.PERSON))
async def prove_by_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """Take a signature for a proof."""
    given: OnwardAnswer = await form(request, OnwardAnswer)
    site, session, next_ = site_of(request), visitor_of(request).session, safe_path(given.next)
    try:
        challenge_id, response = given.given()
        async with site.house.db.transaction() as tx:
            await identity.finish_proof(
                tx, session, challenge_id, response, party=site.party, wall_now=clock.wall_now()
            )
    except (NoPasskeyGiven, ChallengeSpent, PasskeyRefused, PasskeyUnknown) as refusal:
        return await _proof_page(request, next_, refusal)
    return go(next_)


@post("/proof/pin", status_code=303, opt=needs(Needs.PERSON))
async def prove_by_pin(request: Request[Any, Any, Any]) -> Response[Any]:
    """Take the payment PIN for a proof."""
    given: _Typed = await form(request, _Typed)
    site, session, next_ = site_of(request), visitor_of(request).session, safe_path(given.next)
    refusal = await _spend_try(request, given.pin)
    if refusal is not None:
        return await _proof_page(request, next_, refusal)
    async with site.house.db.transaction() as tx:
        await identity.prove_session(tx, session, clock.wall_now())
    return go(next_)


async def _spend_try(request: Request[Any, Any, Any], pin: str) -> Failure | None:
    """Spend one of the person's tries, written down before anything else comes of it; None for the right PIN."""
    if len(pin) != 6 or not pin.isascii() or not pin.isdigit():
        return PinInvalid()
    site, person_id = site_of(request), PersonId(visitor_of(request).session.holder_id)
    async with site.house.db.transaction() as tx:
        tries = await PinTries.lock(tx, [person_id], secrets=site.house.secrets)
        refusal = tries.spend(person_id, pin, clock.wall_now(), try_id=new_id())
        await tries.save(tx)
    return refusal


async def _proof_page(request: Request[Any, Any, Any], next_: str, refusal: Failure | None = None) -> Response[str]:
    site = site_of(request)
    async with site.house.db.transaction() as tx:
        ways = await ways_to_prove(tx, visitor_of(request).session, wall_now=clock.wall_now())
    is_of_pin = isinstance(refusal, PinInvalid | PinWrong | PinLocked | PinNotSet)
    said = "" if refusal is None else sentence(refusal)
    return page(
        request,
        "phone/proof.html",
        status=200 if refusal is None else status_of(refusal),
        next=next_,
        ways=ways,
        problem="" if is_of_pin else said,
        pin_problem=said if is_of_pin else "",
    )


ROUTES = [proof, ask_for_proof, prove_by_passkey, prove_by_pin]
