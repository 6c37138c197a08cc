"""API certificates: how a merchant's server proves who it is. The private key never leaves the merchant's side."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from dewpond.kit import crypto
from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.secrets import MasterKeys
from dewpond.merchants.keys import get_authority
from dewpond.merchants.merchants import Merchant, MerchantId

sql = queries(__file__)

_VALID_DAYS: Final = 5 * 365


class CertificateNotFound(Failure):
    """This merchant has no such certificate, or it is revoked already."""

    code, kind = "certificate_not_found", Kind.NOT_FOUND


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's API certificate; `serial` is 40 upper-case hexadecimal digits, the first one 1 to 7."""

    merchant_id: MerchantId
    serial: str
    pem: str
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None


async def issue_certificate(
    tx: Tx, merchant: Merchant, csr_pem: bytes, *, secrets: MasterKeys, wall_now: datetime
) -> Certificate:
    """Sign a merchant's key; the subject is ours to say (CN = its number). Refuses a bad CSR with `CsrRefused`."""
    authority = await get_authority(tx)
    pem = crypto.issue_certificate(
        authority.pem.encode(),
        authority.private_key_pem(secrets),
        csr_pem,
        common_name=merchant.number,
        wall_now=wall_now,
        valid_days=_VALID_DAYS,
    )
    parsed = crypto.parse_certificate(pem)
    certificate = Certificate(
        merchant_id=merchant.id,
        serial=crypto.serial_text(parsed),
        pem=pem.decode(),
        not_before=parsed.not_valid_before_utc,
        not_after=parsed.not_valid_after_utc,
        revoked_at=None,
    )
    await tx.run(
        sql.create_certificate,
        merchant_id=merchant.id,
        serial=certificate.serial,
        pem=certificate.pem,
        not_before=certificate.not_before,
        not_after=certificate.not_after,
        created_at=wall_now,
    )
    return certificate


async def list_certificates(tx: Tx, merchant_id: UUID) -> list[Certificate]:
    """A merchant's certificates, oldest first, revoked and expired ones included."""
    return await tx.rows(Certificate, sql.list_certificates, merchant_id=merchant_id)


async def revoke_certificate(tx: Tx, merchant_id: UUID, serial: str, *, wall_now: datetime) -> None:
    """Stop trusting a certificate, from the next request on."""
    if not await tx.run(sql.revoke_certificate, merchant_id=merchant_id, serial=serial, revoked_at=wall_now):
        raise CertificateNotFound(serial=serial)
