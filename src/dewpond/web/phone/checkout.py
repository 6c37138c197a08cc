"""Checkout: who asks for how much, and a person's yes, by passkey, by PIN or, for a small sum, by a tap.

Sum and payee come from the payment alone; nothing that a form says about them is read. A tap on "Pay" with a PIN, or
with nothing, is carried out on the short road (`taps.py`); `confirm` takes other forms, and tells what was refused
there.
"""

from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import MediaType, Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import identity, merchants, pay, reservoir
from dewpond.identity import ChallengeSpent, PersonId, PinInvalid, PinLocked, PinWrong
from dewpond.kit import clock
from dewpond.kit.failures import Failure, OutcomeUnknown
from dewpond.kit.money import Money
from dewpond.pay import (
    AboveLimit,
    CodeExpired,
    CodeUnknown,
    Confirmation,
    DeviceNew,
    InsufficientFunds,
    PasskeyProof,
    Payment,
    PaymentAlreadyClosed,
    PaymentAlreadySucceeded,
    PaymentStatus,
    PaymentTaken,
    PinProof,
    Proof,
    ProofMissing,
    SmallSum,
)
from dewpond.web.ceremonies import PasskeyAnswer, asked
from dewpond.web.failures import patience, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page
from dewpond.web.phone.codes import Found, codes_of
from dewpond.web.phone.proofs import ways_to_prove
from dewpond.web.phone.taps import refusal_of, told_of, wants_json
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.wallets import read_balance, receipt_path

#: What ends a checkout, and the page that says so.
_ENDS: Final[dict[type[Failure], str]] = {
    CodeUnknown: "unknown",
    CodeExpired: "expired",
    PaymentAlreadyClosed: "closed",
    PaymentTaken: "taken",
    OutcomeUnknown: "unclear",
}


class _Yes(PasskeyAnswer, frozen=True, forbid_unknown_fields=True):
    """Without a PIN and without a signature it is a tap."""

    pin: str | None = None


class _Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing: what is to be signed is the payment."""


@get("/q/{code:str}", opt=needs(Needs.PERSON))
async def checkout(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
    """Who asks, for how much and what for; or what became of it."""
    try:
        found = await codes_of(request).get(code, _payer_of(request))
    except (CodeUnknown, CodeExpired) as end:
        return _end(request, end, code)
    return await _as_it_stands(request, found, code)


@get("/q/{code:str}/confirmation", opt=needs(Needs.PERSON))
async def look_again(code: FromPath[str]) -> Redirect:
    """Who opens a form's address once more looks at what became of it."""
    return go(f"/q/{code}")


@post("/q/{code:str}/challenge", status_code=200, opt=needs(Needs.PERSON))
async def ask_for_signature(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
    """A question to this person's passkeys: this payment, this payee, this sum, in this session."""
    await form(request, _Question)
    payer_id = _payer_of(request)
    found = await codes_of(request).get(code, payer_id)
    _require_open(found, payer_id)
    site, payment = site_of(request), found.payment
    async with site.house.db.transaction() as tx:
        begun = await identity.begin_confirmation(
            tx,
            visitor_of(request).session,
            party=site.party,
            merchant_id=payment.merchant_id,
            payment_id=payment.id,
            amount=payment.amount,
            wall_now=found.now.wall,
        )
    return asked(begun)


@post("/q/{code:str}/confirmation", status_code=303, opt=needs(Needs.PERSON))
async def confirm(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
    """Pay. Whoever has paid already is led to the receipt: a second tap is not an error."""
    refused = refusal_of(request)
    yes: _Yes = _Yes() if refused else await form(request, _Yes)
    payer_id = _payer_of(request)
    found: Found | None = None
    try:
        found = await codes_of(request).get(code, payer_id)
        if refused:
            raise refused
        paid = found.payment
        if not paid.was_paid_by(payer_id):
            confirmation = Confirmation(
                merchant_id=paid.merchant_id,
                payment_id=paid.id,
                payer_id=payer_id,
                proof=await _proof_of(request, yes),
                now=found.now,
                device_since=visitor_of(request).session.created_at,
            )
            paid = await site_of(request).house.confirmations.submit(confirmation)
    except Failure as refusal:
        return await _refused(request, code, found, refusal)
    if _wants_json(request):
        return _paid_json(paid)
    return go(receipt_path(paid.id))


def _payer_of(request: Request[Any, Any, Any]) -> PersonId:
    return PersonId(visitor_of(request).session.holder_id)


def _require_open(found: Found, payer_id: PersonId) -> None:
    match found.payment.status_at(found.now.world):
        case PaymentStatus.SUCCEEDED:
            raise PaymentAlreadySucceeded if found.payment.was_paid_by(payer_id) else PaymentTaken
        case PaymentStatus.CLOSED:
            raise _closed(found.payment)


def _closed(payment: Payment) -> Failure:
    """A payment whose time was over has expired; before, the shop has closed it."""
    ended_early = payment.closed_at is not None and payment.closed_at < payment.expires_at
    return PaymentAlreadyClosed() if ended_early else CodeExpired()


# --- the proof --------------------------------------------------------------------------------------------------------


async def _proof_of(request: Request[Any, Any, Any], yes: _Yes) -> Proof:
    """What was given for it. A signature is held against its question here; nothing is paid by that yet."""
    if yes.challenge_id is not None and yes.response:
        return await _signed(request, yes.challenge_id, yes.response)
    if yes.pin is None:
        return SmallSum()
    pin = yes.pin.strip()
    if len(pin) != 6 or not pin.isascii() or not pin.isdigit():
        raise PinInvalid
    return PinProof(pin)


async def _signed(request: Request[Any, Any, Any], challenge_id: UUID, response: str) -> PasskeyProof:
    site, session = site_of(request), visitor_of(request).session
    try:
        async with site.house.db.transaction() as tx:
            await identity.verify_confirmation(
                tx, session, challenge_id, response, party=site.party, wall_now=clock.wall_now()
            )
    except ChallengeSpent:
        pass  # perhaps by the same tap, sent twice: whether it has paid, only the confirmation can tell
    return PasskeyProof(challenge_id=challenge_id, session_id=session.id)


# --- answers ----------------------------------------------------------------------------------------------------------


def _wants_json(request: Request[Any, Any, Any]) -> bool:
    return wants_json(request.headers.get("accept", ""))


def _paid_json(paid: Payment) -> Response[Any]:
    return Response(told_of(paid), media_type=MediaType.JSON, status_code=200, headers={"Cache-Control": "no-store"})


async def _refused(request: Request[Any, Any, Any], code: str, found: Found | None, refusal: Failure) -> Response[Any]:
    """Why not, in the words that were asked for."""
    if found is not None and isinstance(refusal, PaymentAlreadyClosed):
        refusal = _closed(found.payment)
    if _wants_json(request):
        return _problem_json(request, refusal)
    if found is None or type(refusal) in _ENDS:
        return _end(request, refusal, code)
    return await _as_it_stands(request, found, code, refusal)


def _problem_json(request: Request[Any, Any, Any], refusal: Failure) -> Response[Any]:
    told = {
        "status": status_of(refusal),
        "code": refusal.code,
        "title": sentence(refusal),
        "request_id": request.scope["state"]["request_id"],
    }
    for name, fact in refusal.facts.items():
        told[name] = {"minor": fact.minor, "currency": fact.currency} if isinstance(fact, Money) else fact
    headers = {"Cache-Control": "no-store"} | patience(refusal)
    return Response(told, status_code=status_of(refusal), media_type="application/problem+json", headers=headers)


def _end(request: Request[Any, Any, Any], end: Failure, code: str) -> Response[str]:
    """A page that says why nothing can be paid here, and nothing of who has paid."""
    why = _ENDS.get(type(end), "busy")
    answer = page(request, "phone/checkout_end.html", status=status_of(end), why=why, code=code)
    answer.headers |= patience(end)
    return answer


async def _as_it_stands(
    request: Request[Any, Any, Any], found: Found, code: str, refusal: Failure | None = None
) -> Response[Any]:
    """The page of a payment as it is now: its receipt, its end, or the way to pay it."""
    payment, site = found.payment, site_of(request)
    if payment.was_paid_by(_payer_of(request)):
        return go(receipt_path(payment.id))
    session = visitor_of(request).session
    try:
        _require_open(found, _payer_of(request))
    except (PaymentTaken, PaymentAlreadyClosed, CodeExpired) as end:
        return _end(request, end, code)
    async with site.house.db.transaction() as tx:
        merchant = await merchants.get_merchant(tx, payment.merchant_id)
        balance = await read_balance(tx, session.holder_id, payment.currency)
        foreseen = await pay.find_limit_refusal(
            tx, session.holder_id, payment.amount, now=found.now, device_since=session.created_at
        )
        ways = await ways_to_prove(tx, session, wall_now=found.now.wall)
        known = await reservoir.find_contact(tx, payment.merchant_id, session.holder_id)
    missing = payment.amount - balance if balance.minor < payment.amount.minor else None
    limit = foreseen.facts if isinstance(foreseen, AboveLimit) else None
    asks_pin = ways.has_pin and ways.pin_locked_until is None
    shows_itself = {InsufficientFunds: missing, AboveLimit: limit, DeviceNew: limit, PinLocked: ways.pin_locked_until}
    said = "" if refusal is None or shows_itself.get(type(refusal)) else sentence(refusal)
    is_of_pin = asks_pin and isinstance(refusal, PinInvalid | PinWrong)
    answer = page(
        request,
        "phone/checkout.html",
        status=200 if refusal is None else status_of(refusal),
        code=code,
        payment=payment,
        found=found,
        merchant=merchant,
        is_new_payee=known is None,
        balance=balance,
        missing=missing,
        limit=limit,
        needs_proof=isinstance(foreseen, ProofMissing) or isinstance(refusal, ProofMissing),
        ways=ways,
        problem="" if is_of_pin else said,
        pin_problem=said if is_of_pin else "",
    )
    answer.headers |= patience(refusal)
    return answer


ROUTES = [checkout, look_again, ask_for_signature, confirm]
