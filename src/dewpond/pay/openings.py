"""Openings: a merchant asks for money and gets a code for somebody's phone. A hot verb: it takes many."""

import secrets as random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from dewpond.identity import PersonId
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import new_id
from dewpond.kit.money import Money
from dewpond.merchants import AppId, MerchantId
from dewpond.pay.payments import PaymentAlreadyClosed, PaymentAlreadySucceeded, PaymentId, PaymentStatus

sql = queries(__file__)

#: How long a code leads to its payment; a repeated request brings a fresh one (contract §2.2).
CODE_LIFE: Final = timedelta(hours=2)


class RequestDiffers(Failure):
    """This number was used before with other parameters."""

    code, kind = "request_differs", Kind.CONFLICT


class NewRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What the wire wants remembered with a payment."""

    trade_type: str
    #: Of what a repeat must bring again; equal hashes are the same request.
    request_hash: bytes
    notify_url: str
    attach: str | None = None
    device_id: str | None = None
    platform_key_id: str | None = None


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """One request for money."""

    merchant_id: MerchantId
    app_id: AppId
    merchant_reference: str
    description: str
    amount: Money
    fee_rate_bp: int
    expires_at: datetime
    now: Now
    request: NewRequest
    #: Who alone may see and pay it; None for whoever has the code.
    meant_for: PersonId | None = None
    #: A repeat is told the code that is there, whatever has become of the payment: who follows it will see. The wire's
    #: repeats kill it for a fresh one (contract §2.2); but where a browser sends one form twice, nobody knows which of
    #: the answers it follows.
    keeps_code: bool = False

    @property
    def key(self) -> tuple[MerchantId, str]:
        """Openings with one key never share a batch."""
        return self.merchant_id, self.merchant_reference


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """An open payment and the code that leads to it."""

    payment_id: PaymentId
    code: str


class _Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that already holds a number; without a request where the number was only taken out of use."""

    merchant_id: MerchantId
    id: PaymentId
    merchant_reference: str
    status: PaymentStatus
    expires_at: datetime
    request_hash: bytes | None
    trade_type: str | None
    code: str | None


async def open_payments(tx: Tx, openings: Sequence[Opening]) -> list[Opened | Failure]:
    """Open a payment for each opening, in order, each standing or falling alone.

    The same number with the same request gives the payment that is there a fresh code and kills the old one; where the
    opening `keeps_code` it is told that one, also of a payment that has ended. Refusals: `RequestDiffers`,
    `PaymentAlreadySucceeded`, `PaymentAlreadyClosed`. Openings of one call have different keys.
    """
    if len({opening.key for opening in openings}) < len(openings):
        raise ValueError("openings with one key never share a batch")
    fresh = [Opened(payment_id=PaymentId(new_id()), code=new_code()) for _ in openings]
    created = set(await _insert(tx, openings, fresh))
    earlier = await _lock_earlier(
        tx, [o for o, new in zip(openings, fresh, strict=True) if new.payment_id not in created]
    )
    outcomes: list[Opened | Failure] = []
    renewed: list[tuple[MerchantId, PaymentId, str, datetime]] = []
    for opening, new in zip(openings, fresh, strict=True):
        if new.payment_id in created:
            outcomes.append(new)
            continue
        held = earlier[opening.key]
        refusal = _refusal(opening, held)
        if opening.keeps_code and held.code is not None and not isinstance(refusal, RequestDiffers):
            outcomes.append(Opened(payment_id=held.id, code=held.code))
            continue
        if refusal is not None:
            outcomes.append(refusal)
            continue
        outcomes.append(Opened(payment_id=held.id, code=new.code))
        renewed.append((held.merchant_id, held.id, new.code, opening.now.world + CODE_LIFE))
    if renewed:
        merchant_ids, payment_ids, codes, expires_at = columns(renewed, 4)
        await tx.run(
            sql.replace_codes,
            merchant_ids=merchant_ids,
            payment_ids=payment_ids,
            codes=codes,
            expires_at=expires_at,
        )
    return outcomes


def _refusal(opening: Opening, held: _Earlier) -> Failure | None:
    """Why a number that is in use cannot be opened again; None where it is the same request, still open."""
    told = {"merchant_reference": opening.merchant_reference}
    if held.request_hash is None:  # closed before it was ever opened
        return PaymentAlreadyClosed(**told)
    if (held.request_hash, held.trade_type) != (opening.request.request_hash, opening.request.trade_type):
        return RequestDiffers(**told)
    if held.status is PaymentStatus.SUCCEEDED:
        return PaymentAlreadySucceeded(**told)
    if held.status is PaymentStatus.CLOSED or held.expires_at <= opening.now.world:
        return PaymentAlreadyClosed(**told)
    return None


async def _insert(tx: Tx, openings: Sequence[Opening], fresh: Sequence[Opened]) -> list[PaymentId]:
    """Write payment, request and code of each opening whose number is free; the ids that were written."""
    columns_of: dict[str, list[Any]] = {
        "merchant_id": [o.merchant_id for o in openings],
        "id": [new.payment_id for new in fresh],
        "app_id": [o.app_id for o in openings],
        "merchant_reference": [o.merchant_reference for o in openings],
        "description": [o.description for o in openings],
        "minor": [o.amount.minor for o in openings],
        "currency": [o.amount.currency for o in openings],
        "fee_rate_bp": [o.fee_rate_bp for o in openings],
        "opened_at": [o.now.world for o in openings],
        "expires_at": [o.expires_at for o in openings],
        "trade_type": [o.request.trade_type for o in openings],
        "request_hash": [o.request.request_hash for o in openings],
        "notify_url": [o.request.notify_url for o in openings],
        "attach": [o.request.attach for o in openings],
        "device_id": [o.request.device_id for o in openings],
        "platform_key_id": [o.request.platform_key_id for o in openings],
        "code": [new.code for new in fresh],
        "code_expires_at": [o.now.world + CODE_LIFE for o in openings],
        "meant_for": [o.meant_for for o in openings],
    }
    return await tx.values(sql.open_payments, **columns_of)


async def _lock_earlier(tx: Tx, openings: Sequence[Opening]) -> dict[tuple[MerchantId, str], _Earlier]:
    if not openings:
        return {}
    merchant_ids, references = columns([opening.key for opening in openings], 2)
    rows = await tx.rows(_Earlier, sql.lock_earlier, merchant_ids=merchant_ids, merchant_references=references)
    return {(row.merchant_id, row.merchant_reference): row for row in rows}


def new_code() -> str:
    """What a QR code carries: 96 bits, not to be guessed while it lives. It begins with a letter or a digit, so that
    no terminal takes it for an option."""
    while (code := random.token_urlsafe(12))[0] in "-_":
        pass
    return code
