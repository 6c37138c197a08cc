"""Taps: the short road of `POST /q/{code}/confirmation`, which is asked more often than everything else together.

What a tap on "Pay" sends is known to the byte: a PIN, or nothing. Where somebody is signed in and the code is good, it
is carried out before anything is routed, and who has paid is answered at once. Everything else is left to the pages:
other forms as they came, and a tap that was refused with its refusal, for it must not be carried out a second time.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from litestar import Request

from dewpond import identity, pay
from dewpond.identity import PersonId, Realm, Session
from dewpond.kit import worlds
from dewpond.kit.batch import Batch
from dewpond.kit.clock import Now
from dewpond.kit.db import CONNECTION_LOST
from dewpond.pay import Code, Confirmation, Payment, PinProof, Proof, SmallSum
from dewpond.web.house import House
from dewpond.web.phone.wallets import receipt_path
from dewpond.web.sites import Answer, Asked, Receive, Site

_PATH: Final = re.compile(r"/q/([A-Za-z0-9_-]{1,128})/confirmation", re.ASCII)
_FORM: Final = b"application/x-www-form-urlencoded"
_PIN: Final = re.compile(rb"pin=([0-9]{6})")
_LENGTHS: Final = {b"0", b"10"}
_REFUSAL: Final = "tap_refusal"
_NOTHING: Final = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"0"))


class _Tap(msgspec.Struct, frozen=True, kw_only=True):
    """Whose phone, by its cookie, and which code."""

    token: str
    code: str


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """A tap of somebody who is signed in on a code that can be paid, at a moment."""

    session: Session
    code: Code
    now: Now


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
    """Carries taps out for one site of one house."""

    def __init__(self, house: House, site: Site) -> None:
        self._house = house
        self._cookie = site.visitors.cookie_name
        # Nothing of what is looked up is kept: a session that ended a moment ago pays nothing.
        self._lookups: Batch[_Tap, _Known | None] = Batch(self._find, key=id, lanes=1)

    async def answer(self, asked: Asked) -> Answer | None:
        """The answer to a tap that has paid, also to one that had paid before; None leaves it to the pages."""
        tap = self._recognise(asked)
        if tap is None:
            return None
        proof = await _proof_of(asked)
        known = None if proof is None else await self._lookups.submit(tap)
        if proof is None or known is None:
            return None
        try:
            paid = await self._house.confirmations.submit(
                Confirmation(
                    merchant_id=known.code.merchant_id,
                    payment_id=known.code.payment_id,
                    payer_id=PersonId(known.session.holder_id),
                    proof=proof,
                    now=known.now,
                )
            )
        except Exception as refusal:  # noqa: BLE001 - a page tells it
            asked.scope["state"][_REFUSAL] = refusal
            return None
        return _paid(paid, asked.headers.get(b"accept", b"").decode("latin-1"))

    def _recognise(self, asked: Asked) -> _Tap | None:
        """Whether this request is a tap, by its head."""
        scope, headers = asked.scope, asked.headers
        if scope["method"] != "POST" or scope["query_string"] or headers.get(b"content-type") != _FORM:
            return None
        found = _PATH.fullmatch(scope["path"])
        token = asked.cookies.get(self._cookie, "")
        if found is None or not 0 < len(token) <= 200 or headers.get(b"content-length") not in _LENGTHS:
            return None
        return _Tap(token=token, code=found[1])

    async def _find(self, taps: Sequence[_Tap]) -> Sequence[_Known | None]:
        try:
            async with self._house.db.reading() as tx:
                now = await worlds.read_clocks(tx)
                tokens = [tap.token for tap in taps]
                sessions = await identity.find_sessions(tx, tokens, Realm.PERSON, wall_now=now.wall)
                codes = await pay.list_codes(tx, [tap.code for tap in taps])
        except CONNECTION_LOST:  # nothing was begun, and the pages wait for the database as for any other request
            return [None] * len(taps)
        return [_known(session, codes.get(tap.code), now) for tap, session in zip(taps, sessions, strict=True)]


def _known(session: Session | None, code: Code | None, now: Now) -> _Known | None:
    """None for what a page has something to say about, or to write down first."""
    if session is None or session.is_due(now.wall) or code is None or code.expires_at <= now.world:
        return None
    return _Known(session=session, code=code, now=now)


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
