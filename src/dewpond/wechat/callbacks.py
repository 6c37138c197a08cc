"""Callbacks: what a merchant is told, in WeChat's language (contract §4).

The body is written and encrypted once and kept; each attempt signs it anew. It is compact JSON in raw UTF-8 and in one
order of keys, because one SDK parses it and writes it again before it verifies.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from dewpond import __version__, identity, merchants, pay
from dewpond.kit import clock, crypto
from dewpond.kit.clock import Now
from dewpond.kit.crypto import ApiKeyCipher, Signer
from dewpond.kit.db import Tx
from dewpond.kit.secrets import MasterKeys
from dewpond.merchants import Merchant
from dewpond.openplatform import Delivery, Letter
from dewpond.pay import Payment, PaymentRequest, Refund
from dewpond.wechat import answers
from dewpond.wechat.payments import in_shanghai, transaction
from dewpond.wechat.refunds import RECEIVED_ON, wire_status
from dewpond.wechat.signing import answer_message

#: What the wire calls each fact: event_type, original_type (also the associated data), summary.
_EVENTS: Final = {
    pay.PaymentSucceeded.kind: ("TRANSACTION.SUCCESS", "transaction", "支付成功"),
    pay.RefundSucceeded.kind: ("REFUND.SUCCESS", "refund", "退款成功"),
    pay.RefundAbnormal.kind: ("REFUND.ABNORMAL", "refund", "退款异常"),
    pay.RefundClosed.kind: ("REFUND.CLOSED", "refund", "退款关闭"),
}


#: Merchant and payment or refund: nothing is looked up without its owner.
_Key = tuple[UUID, UUID]


class _Known(msgspec.Struct, kw_only=True):
    """What the letters of one round are written from."""

    refunds: Mapping[_Key, Refund]
    payments: Mapping[_Key, Payment]
    requests: Mapping[_Key, PaymentRequest]
    appids: Mapping[UUID, str]
    open_ids: Mapping[tuple[UUID, UUID], str]
    merchants: Mapping[UUID, Merchant]
    ciphers: Mapping[UUID, ApiKeyCipher | Exception]


class CallbackScribe:
    """Writes and signs callbacks, many at once."""

    async def write(
        self, tx: Tx, deliveries: Sequence[Delivery], *, secrets: MasterKeys, now: Now
    ) -> Sequence[Letter | Exception]:
        """A letter for each in order; one that cannot be written does not hold up the others."""
        known = await _load(tx, deliveries, secrets=secrets, now=now)
        signers: dict[tuple[UUID, str | None], Signer] = {}
        letters: list[Letter | Exception] = []
        for delivery in deliveries:
            try:
                body = delivery.body or _body(delivery, known)
                which = (delivery.merchant_id, _key_named(delivery, known))
                if which not in signers:
                    signers[which] = await _signer(tx, known.merchants[which[0]], which[1], secrets=secrets, now=now)
                letters.append(Letter(body, _signing(body, signers[which])))
            except (asyncpg.PostgresError, asyncpg.InterfaceError):
                raise  # the transaction is lost for all of them
            except Exception as error:  # noqa: BLE001 - handed to the one delivery it belongs to
                letters.append(error)
        return letters


# --- loading ----------------------------------------------------------------------------------------------------------


async def _load(tx: Tx, deliveries: Sequence[Delivery], *, secrets: MasterKeys, now: Now) -> _Known:
    refund_keys = [(each.merchant_id, each.subject_id) for each in deliveries if _is_refund(each)]
    refunds: dict[_Key, Refund] = {
        (refund.merchant_id, refund.id): refund for refund in await pay.list_refunds_by_key(tx, refund_keys)
    }
    payment_keys = {(each.merchant_id, each.subject_id) for each in deliveries if not _is_refund(each)}
    payment_keys |= {(refund.merchant_id, refund.payment_id) for refund in refunds.values()}
    payments: dict[_Key, Payment] = {
        (payment.merchant_id, payment.id): payment for payment in await pay.list_payments(tx, sorted(payment_keys))
    }
    pairs = [(each.app_id, each.payer_id) for each in payments.values() if each.payer_id is not None]
    whom = sorted({each.merchant_id for each in deliveries})
    return _Known(
        refunds=refunds,
        payments=payments,
        requests={
            (request.merchant_id, request.payment_id): request
            for request in await pay.list_requests(tx, sorted(payment_keys))
        },
        appids={
            app.id: app.appid for app in await merchants.list_apps(tx, [each.app_id for each in payments.values()])
        },
        open_ids=await identity.open_ids(tx, pairs, wall_now=now.wall),
        merchants={merchant_id: await merchants.get_merchant(tx, merchant_id) for merchant_id in whom},
        ciphers={merchant_id: await _cipher(tx, merchant_id, secrets=secrets) for merchant_id in whom},
    )


async def _cipher(tx: Tx, merchant_id: UUID, *, secrets: MasterKeys) -> ApiKeyCipher | Exception:
    try:
        return ApiKeyCipher(await merchants.api_v3_key(tx, merchant_id, secrets=secrets))
    except merchants.ApiKeyMissing as missing:  # each delivery to this merchant says so, no other one
        return missing


async def _signer(tx: Tx, merchant: Merchant, named: str | None, *, secrets: MasterKeys, now: Now) -> Signer:
    key = await merchants.platform_key(tx, merchant.id, key_id=named, key_mode=merchant.key_mode, wall_now=now.wall)
    return key.signer(secrets)


def _is_refund(delivery: Delivery) -> bool:
    return delivery.event_kind.startswith("refund.")


def _key_named(delivery: Delivery, known: _Known) -> str | None:
    """The platform key the merchant named when it asked for what it is now told of."""
    if _is_refund(delivery):
        return known.refunds[delivery.merchant_id, delivery.subject_id].platform_key_id
    return known.requests[delivery.merchant_id, delivery.subject_id].platform_key_id


# --- writing ----------------------------------------------------------------------------------------------------------


def _body(delivery: Delivery, known: _Known) -> bytes:
    event_type, original_type, summary = _EVENTS[delivery.event_kind]
    cipher = known.ciphers[delivery.merchant_id]
    if isinstance(cipher, Exception):
        raise cipher
    plain = _refund(delivery, known) if _is_refund(delivery) else _transaction(delivery, known)
    nonce = crypto.new_aead_nonce()
    return msgspec.json.encode(
        {
            "id": str(delivery.id),
            "create_time": in_shanghai(delivery.created_at),
            "resource_type": "encrypt-resource",
            "event_type": event_type,
            "summary": summary,
            "resource": {
                "original_type": original_type,
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": cipher.seal(msgspec.json.encode(plain), original_type, nonce),
                "associated_data": original_type,
                "nonce": nonce,
            },
        }
    )


def _transaction(delivery: Delivery, known: _Known) -> dict[str, Any]:
    payment = known.payments[delivery.merchant_id, delivery.subject_id]
    assert payment.payer_id is not None
    return transaction(
        payment,
        known.requests[payment.merchant_id, payment.id],
        mchid=known.merchants[payment.merchant_id].number,
        appid=known.appids[payment.app_id],
        openid=known.open_ids[payment.app_id, payment.payer_id],
        state="SUCCESS",  # what is told is that it was paid, whatever was given back since
    )


def _refund(delivery: Delivery, known: _Known) -> dict[str, Any]:
    refund = known.refunds[delivery.merchant_id, delivery.subject_id]
    payment = known.payments[refund.merchant_id, refund.payment_id]
    status = wire_status(refund)
    plain: dict[str, Any] = {
        "mchid": known.merchants[refund.merchant_id].number,
        "transaction_id": payment.public_number,
        "out_trade_no": payment.merchant_reference,
        "refund_id": refund.public_number,
        "out_refund_no": refund.merchant_reference,
        "refund_status": status,
    }
    if status == "SUCCESS" and refund.ended_at is not None:
        plain["success_time"] = in_shanghai(refund.ended_at)
    return plain | {
        "user_received_account": RECEIVED_ON,
        "amount": {
            "total": payment.minor,
            "refund": refund.minor,
            "payer_total": payment.minor,
            "payer_refund": refund.minor,
        },
    }


# --- signing ----------------------------------------------------------------------------------------------------------


def _signing(body: bytes, signer: Signer) -> Callable[[], Awaitable[list[tuple[str, str]]]]:
    async def sign() -> list[tuple[str, str]]:
        timestamp, nonce = int(clock.wall_now().timestamp()), crypto.new_nonce()
        signature = await signer.sign(answer_message(timestamp, nonce, body))
        headers = answers.signed_headers(timestamp=timestamp, nonce=nonce, signature=signature, key_id=signer.key_id)
        return [
            ("Accept", "*/*"),
            ("User-Agent", f"dewpond/{__version__}"),
            *((name.decode(), value.decode()) for name, value in headers if name != b"Cache-Control"),
        ]

    return sign
