"""Onboarding: everything a merchant needs to begin, in one step."""

from datetime import datetime

import msgspec

from dewpond.kit.db import Tx
from dewpond.kit.secrets import MasterKeys
from dewpond.merchants import keys
from dewpond.merchants.merchants import App, KeyMode, Merchant, MerchantId, create_merchant


class Onboarded(msgspec.Struct, frozen=True, kw_only=True):
    """A new merchant with its first app and keys. The API v3 key is told here once and sealed from then on."""

    merchant: Merchant
    app: App
    api_v3_key: str
    public_key: keys.PlatformKey
    platform_certificate: keys.PlatformKey


async def onboard_merchant(
    tx: Tx,
    name: str,
    *,
    secrets: MasterKeys,
    wall_now: datetime,
    fee_rate_bp: int = 60,
    key_mode: KeyMode = KeyMode.CERTIFICATE,
    merchant_id: MerchantId | None = None,
) -> Onboarded:
    """Enter a merchant, its first app, API v3 key and platform public key. Its ledger accounts are `pay`'s to open.

    With a `merchant_id` once, however often it is asked for: then refuses with `MerchantTaken`.
    """
    merchant, app = await create_merchant(
        tx, name, fee_rate_bp=fee_rate_bp, key_mode=key_mode, wall_now=wall_now, merchant_id=merchant_id
    )
    return Onboarded(
        merchant=merchant,
        app=app,
        api_v3_key=await keys.set_api_v3_key(tx, merchant.id, secrets=secrets, wall_now=wall_now),
        public_key=await keys.create_public_key(tx, merchant, secrets=secrets, wall_now=wall_now),
        platform_certificate=(await keys.list_platform_certificates(tx, wall_now=wall_now))[0],
    )
