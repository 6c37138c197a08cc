"""Taps: the short road of `POST /q/{code}/confirmation`, which is asked more often than everything else together.

What a tap on "Pay" sends is known to the byte: a PIN, or nothing. Where somebody is signed in and the code is good, it
is carried out before anything is routed, and who has paid is answered at once. Everything else is left to the pages:
other forms as they came, and a tap that was refused with its refusal, for it must not be carried out a second time.
"""

import re
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request

from dewpond import identity, pay
from dewpond.identity import PersonId, Realm, Session
from dewpond.kit import worlds
from dewpond.kit.batch import Batch
from dewpond.kit.clock import Now
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.pay import Code, Confirmation, Payment, PinProof, Proof, SmallSum
from dewpond.web.house import House
from dewpond.web.sites import Answer, Asked, Receive, Site
from dewpond.web.wallets import receipt_path

_PATH: Final = re.compile(r"/q/([A-Za-z0-9_-]{1,128})/confirmation", re.ASCII)
_FORM: Final = b"application/x-www-form-urlencoded"
_PIN: Final = re.compile(rb"pin=([0-9]{6})")
_LENGTHS: Final = {b"0", b"10"}
_REFUSAL: Final = "tap_refusal"
_NOTHING: Final = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"0"))


class Tap(msgspec.Struct, frozen=True, kw_only=True):
    """Whose phone, by its cookie, which code, and what was given for a proof."""

    token: str
    code: str
    proof: Proof
    #: Of this one tap, also when it is asked again because a commit was lost.
    id: UUID


def refusal_of(request: Request[Any, Any, Any]) -> Exception | None:
    """Why the tap that this request is was refused; None where nobody has tried to carry it out yet."""
    refusal: Exception | None = request.scope["state"].get(_REFUSAL)
    return refusal


def told_of(paid: Payment) -> dict[str, str]:
    """What a page's own code is told of a payment that has succeeded."""
    number = paid.text_id
    return {"status": paid.status, "payment": number, "receipt": f"/receipts/{number}"}


def wants_json(accept: str) -> bool:
    """Whether it is a page's own code that asks, and not a browser."""
    return accept.startswith("application/json")


class Taps:
    """Carries taps out for one site of one house: who it is, what the code asks for, and the confirmation, all in one
    transaction for many taps. Nothing is kept from one to the next: a session that has just ended pays nothing."""

    def __init__(self, house: House, site: Site) -> None:
        self._house = house
        self._cookie = site.visitors.cookie_name
        # A code leads to one payment, and confirmations of one payment never share a batch. A dozen that wait begin the
        # next one beside it: while one is with the database, this process reads and answers the other's.
        self.batch: Batch[Tap, Payment | None] = Batch(self._carry_out, key=lambda tap: tap.code, crowd=12)
        site.batches.append(self.batch)

    async def answer(self, asked: Asked) -> Answer | None:
        """The answer to a tap that has paid, also to one that had paid before; None leaves it to the pages."""
        tap = await self._recognise(asked)
        if tap is None:
            return None
        try:
            paid = await self.batch.submit(tap)
        except Exception as refusal:  # noqa: BLE001 - a page tells it
            asked.scope["state"][_REFUSAL] = refusal
            return None
        return None if paid is None else _paid(paid, asked.headers.get(b"accept", b"").decode("latin-1"))

    async def _recognise(self, asked: Asked) -> Tap | None:
        """The tap that this request is; no other body is touched."""
        scope, headers = asked.scope, asked.headers
        if scope["method"] != "POST" or scope["query_string"] or headers.get(b"content-type") != _FORM:
            return None
        found = _PATH.fullmatch(scope["path"])
        token = asked.cookies.get(self._cookie, "")
        if found is None or not 0 < len(token) <= 200 or headers.get(b"content-length") not in _LENGTHS:
            return None
        proof = await _proof_of(asked)
        return None if proof is None else Tap(token=token, code=found[1], proof=proof, id=new_id())

    async def _carry_out(self, taps: Sequence[Tap]) -> Sequence[Payment | Failure | None]:
        async with self._house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            sessions = await identity.find_sessions(tx, [tap.token for tap in taps], Realm.PERSON, wall_now=now.wall)
            codes = await pay.list_codes(tx, [tap.code for tap in taps])
            asked = [
                _confirmation(tap, session, codes.get(tap.code), now)
                for tap, session in zip(taps, sessions, strict=True)
            ]
            meant = [one for one in asked if one is not None]
            outcomes = await pay.confirm_payments(tx, meant, secrets=self._house.secrets) if meant else []
        of = {one.id: outcome for one, outcome in zip(meant, outcomes, strict=True)}
        return [of.get(tap.id) for tap in taps]


def _confirmation(tap: Tap, session: Session | None, code: Code | None, now: Now) -> Confirmation | None:
    """What a tap means; None where a page has something to say first, or to write down."""
    if session is None or session.is_due(now.wall) or code is None or code.expires_at <= now.world:
        return None
    return Confirmation(
        merchant_id=code.merchant_id,
        payment_id=code.payment_id,
        payer_id=PersonId(session.holder_id),
        proof=tap.proof,
        now=now,
        device_since=session.created_at,
        id=tap.id,
    )


async def _proof_of(asked: Asked) -> Proof | None:
    """What was given for a proof; None for another form, which stays to be read."""
    if asked.headers[b"content-length"] == b"0":
        return SmallSum()
    body, more = b"", True
    while more:
        message = await asked.receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    asked.receive = _once_more(body)
    pin = _PIN.fullmatch(body)
    return PinProof(pin[1].decode()) if pin else None


def _once_more(body: bytes) -> Receive:
    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _paid(paid: Payment, accept: str) -> Answer:
    if not wants_json(accept):
        location = (b"location", receipt_path(paid.id).encode())
        return Answer(303, (*_NOTHING, location))
    body = msgspec.json.encode(told_of(paid))
    headers = (
        (b"cache-control", b"no-store"),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    )
    return Answer(200, headers, body)
