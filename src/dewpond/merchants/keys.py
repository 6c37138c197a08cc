"""Keys: the world's authority, what the platform signs with, and each merchant's API v3 key.

Private keys and API v3 keys are sealed under the world's master key. The platform has certificates for everybody
(WeChat's certificate mode) and one public key per merchant (its public-key mode).
"""

import asyncio
import secrets as random
import string
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from dewpond.kit import crypto
from dewpond.kit.crypto import Signer
from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.secrets import MasterKeys
from dewpond.merchants.merchants import KeyMode, Merchant

sql = queries(__file__)

PUBLIC_KEY_PREFIX: Final = "PUB_KEY_ID_"
_AUTHORITY_NAME: Final = "Dewpond world authority"
_PLATFORM_NAME: Final = "Dewpond platform"
_PLATFORM_DAYS: Final = 5 * 365
#: Merchants' software learns of a new certificate by asking; this is how long it has until the old one ends.
_OVERLAP: Final = timedelta(days=30)


class ApiKeyMissing(Failure):
    """This merchant has no API v3 key, so nothing can be encrypted for it."""

    code, kind = "api_key_missing", Kind.CONFLICT


class ApiKeyRenewed(Failure):
    """Another API v3 key was drawn meanwhile; look whether it was you before you draw one more."""

    code, kind = "api_key_renewed", Kind.CONFLICT


class Authority(msgspec.Struct, frozen=True, kw_only=True):
    """The world's own certificate authority."""

    serial: str
    pem: str
    sealed_key: bytes

    @property
    def not_after(self) -> datetime:
        return crypto.parse_certificate(self.pem.encode()).not_valid_after_utc

    def private_key_pem(self, secrets: MasterKeys) -> bytes:
        return secrets.unseal(self.sealed_key, table="merchants.authorities", row=self.serial)


class PlatformKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key the platform signs with; `id` is what the wire calls `Wechatpay-Serial`."""

    id: str
    certificate: str | None
    public_key: str
    sealed_key: bytes
    not_before: datetime
    not_after: datetime | None

    def private_key_pem(self, secrets: MasterKeys) -> bytes:
        """The private key, unsealed; callers parse it through a cache and keep no copy."""
        return secrets.unseal(self.sealed_key, table="merchants.platform_keys", row=self.id)

    def signer(self, secrets: MasterKeys) -> Signer:
        """Who signs with this key."""
        return Signer(crypto.parse_private_key(self.private_key_pem(secrets)), self.id)


async def prepare_platform(tx: Tx, *, secrets: MasterKeys, wall_now: datetime) -> None:
    """Make the authority and the platform certificate where there is none, or where the newest ends within 30 days;
    again is no change."""
    await tx.run(sql.lock_platform)
    authority = await tx.row(Authority, sql.newest_authority)
    if authority is None or authority.not_after < wall_now + _OVERLAP:
        pem, key_pem = await asyncio.to_thread(crypto.new_authority, _AUTHORITY_NAME, wall_now)
        serial = crypto.serial_text(crypto.parse_certificate(pem))
        await tx.run(
            sql.create_authority,
            serial=serial,
            pem=pem.decode(),
            sealed_key=secrets.seal(key_pem, table="merchants.authorities", row=serial),
            created_at=wall_now,
        )
    if needs_certificate(await list_platform_certificates(tx, wall_now=wall_now), wall_now=wall_now):
        await rotate_platform_certificate(tx, secrets=secrets, wall_now=wall_now)


def needs_certificate(valid: Sequence[PlatformKey], *, wall_now: datetime) -> bool:
    """Whether `prepare_platform` would add a certificate to these, the newest first."""
    return not valid or valid[0].not_after is None or valid[0].not_after < wall_now + _OVERLAP


async def get_authority(tx: Tx) -> Authority:
    """The authority that issues now."""
    authority = await tx.row(Authority, sql.newest_authority)
    assert authority is not None, "the platform is prepared when the world is made"
    return authority


async def rotate_platform_certificate(tx: Tx, *, secrets: MasterKeys, wall_now: datetime) -> PlatformKey:
    """Add a platform certificate; the older ones stay valid beside it until they expire."""
    authority = await get_authority(tx)

    def make() -> tuple[bytes, bytes]:
        key_pem = crypto.new_private_key_pem()
        request = crypto.certificate_signing_request(key_pem, _PLATFORM_NAME)
        certificate = crypto.issue_certificate(
            authority.pem.encode(),
            authority.private_key_pem(secrets),
            request,
            common_name=_PLATFORM_NAME,
            wall_now=wall_now,
            valid_days=_PLATFORM_DAYS,
        )
        return key_pem, certificate

    key_pem, pem = await asyncio.to_thread(make)
    certificate = crypto.parse_certificate(pem)
    return await _save(
        tx,
        crypto.serial_text(certificate),
        key_pem,
        merchant_id=None,
        certificate=pem.decode(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        secrets=secrets,
        wall_now=wall_now,
    )


async def create_public_key(tx: Tx, merchant: Merchant, *, secrets: MasterKeys, wall_now: datetime) -> PlatformKey:
    """Make the platform's public key for one merchant; it never expires."""
    key_pem = await asyncio.to_thread(crypto.new_private_key_pem)
    digits = f"01{int(merchant.number):010d}{wall_now:%Y%m%d}{random.randbelow(10**8):08d}"
    return await _save(
        tx,
        PUBLIC_KEY_PREFIX + digits,
        key_pem,
        merchant_id=merchant.id,
        certificate=None,
        not_before=wall_now,
        not_after=None,
        secrets=secrets,
        wall_now=wall_now,
    )


async def _save(
    tx: Tx,
    key_id: str,
    key_pem: bytes,
    *,
    merchant_id: UUID | None,
    certificate: str | None,
    not_before: datetime,
    not_after: datetime | None,
    secrets: MasterKeys,
    wall_now: datetime,
) -> PlatformKey:
    key = PlatformKey(
        id=key_id,
        certificate=certificate,
        public_key=crypto.public_key_pem(crypto.parse_private_key(key_pem)).decode(),
        sealed_key=secrets.seal(key_pem, table="merchants.platform_keys", row=key_id),
        not_before=not_before,
        not_after=not_after,
    )
    await tx.run(sql.create_platform_key, **msgspec.structs.asdict(key), merchant_id=merchant_id, created_at=wall_now)
    return key


async def list_platform_certificates(tx: Tx, *, wall_now: datetime) -> list[PlatformKey]:
    """The platform's valid certificates, the newest first."""
    return await tx.rows(PlatformKey, sql.platform_certificates, wall_now=wall_now)


async def platform_key(
    tx: Tx, merchant_id: UUID, *, key_id: str | None, key_mode: KeyMode, wall_now: datetime
) -> PlatformKey:
    """What to sign with for a merchant: the valid key it named; else, for a certificate's serial that is not ours, a
    certificate; else the one its mode asks for. Never a key of another kind, even if the last certificate has ended."""
    key = await tx.row(
        PlatformKey,
        sql.platform_key,
        merchant_id=merchant_id,
        key_mode=key_mode,
        key_id=key_id or "",
        wall_now=wall_now,
    )
    assert key is not None, "the platform is prepared when the world is made"
    return key


async def set_api_v3_key(
    tx: Tx, merchant_id: UUID, *, secrets: MasterKeys, wall_now: datetime, value: str | None = None
) -> str:
    """Give a merchant an API v3 key of 32 characters, drawn at random unless `value` is given; the key."""
    key = value or "".join(random.choice(string.ascii_letters + string.digits) for _ in range(32))
    if len(key.encode()) != 32:
        raise ValueError("an API v3 key has exactly 32 bytes")
    sealed = secrets.seal(key.encode(), table="merchants.api_keys", row=str(merchant_id))
    await tx.run(sql.create_api_key, merchant_id=merchant_id, sealed=sealed, created_at=wall_now)
    return key


async def renew_api_v3_key(
    tx: Tx, merchant_id: UUID, *, drawn_at: datetime | None, secrets: MasterKeys, wall_now: datetime
) -> str:
    """Draw another key in place of the one that was drawn at this moment (None: where there is none yet); the key.

    `ApiKeyRenewed` where another was drawn meanwhile: who asks twice, or at the same time, draws once.
    """
    if await tx.value(sql.lock_api_key, merchant_id=merchant_id) != drawn_at:
        raise ApiKeyRenewed
    return await set_api_v3_key(tx, merchant_id, secrets=secrets, wall_now=wall_now)


async def api_v3_key_drawn_at(tx: Tx, merchant_id: UUID) -> datetime | None:
    """Since when a merchant has its API v3 key; None if it has none."""
    drawn_at: datetime | None = await tx.value(sql.find_api_key_age, merchant_id=merchant_id)
    return drawn_at


async def api_v3_key(tx: Tx, merchant_id: UUID, *, secrets: MasterKeys) -> bytes:
    """The merchant's API v3 key, 32 bytes; `ApiKeyMissing` if it has none."""
    sealed = await tx.value(sql.get_api_key, merchant_id=merchant_id)
    if sealed is None:
        raise ApiKeyMissing
    return secrets.unseal(sealed, table="merchants.api_keys", row=str(merchant_id))
