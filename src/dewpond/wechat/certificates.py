"""The platform's certificates: how a merchant's software learns whose signatures to believe."""

from typing import Any, Final

import msgspec

from dewpond import merchants
from dewpond.kit import crypto
from dewpond.kit.crypto import ApiKeyCipher
from dewpond.merchants import PUBLIC_KEY_PREFIX, PlatformKey
from dewpond.wechat.answers import Issue, ParameterInvalid
from dewpond.wechat.door import Call, House, Result, Visit
from dewpond.wechat.payments import in_shanghai
from dewpond.wechat.requests import read_query

_ASSOCIATED: Final = "certificate"
_ALGORITHMS: Final = {"RSA", "ALL"}


async def download(house: House, visit: Visit, _asked: None) -> Result:
    """Every valid platform certificate, encrypted for the caller.

    The answer is signed with one that is in it, whatever the merchant's mode: who has none yet verifies it with what
    it has just decrypted. Only a caller that names its public key gets that one's signature.
    """
    if b"algorithm_type" in visit.query:
        _check_algorithm(read_query(visit.query, "algorithm_type"))
    async with house.db.transaction() as tx:
        keys = await merchants.list_platform_certificates(tx, wall_now=visit.now.wall)
        if merchants.needs_certificate(keys, wall_now=visit.now.wall):  # a server may run for years
            await merchants.prepare_platform(tx, secrets=house.secrets, wall_now=visit.now.wall)
            keys = await merchants.list_platform_certificates(tx, wall_now=visit.now.wall)
        api_key = await merchants.api_v3_key(tx, visit.caller.merchant_id, secrets=house.secrets)
    cipher = ApiKeyCipher(api_key)
    body = msgspec.json.encode({"data": [_sealed(key, cipher) for key in keys]})
    if visit.key_named is not None and visit.key_named.startswith(PUBLIC_KEY_PREFIX):
        return Result(200, body)
    key = next((key for key in keys if key.id == visit.key_named), keys[0])
    return Result(200, body, key.signer(house.secrets))


def _check_algorithm(algorithm: str) -> None:
    if algorithm not in _ALGORITHMS:
        issue = Issue("must be RSA or ALL: this platform has no SM2 certificates", "仅支持RSA")
        raise ParameterInvalid("algorithm_type", issue, value=algorithm, location="query")


def _sealed(key: PlatformKey, cipher: ApiKeyCipher) -> dict[str, Any]:
    assert key.certificate is not None
    assert key.not_after is not None
    nonce = crypto.new_aead_nonce()
    return {
        "serial_no": key.id,
        "effective_time": in_shanghai(key.not_before),
        "expire_time": in_shanghai(key.not_after),
        "encrypt_certificate": {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": nonce,
            "associated_data": _ASSOCIATED,
            "ciphertext": cipher.seal(key.certificate.encode(), _ASSOCIATED, nonce),
        },
    }


CALLS: Final[tuple[Call[Any], ...]] = (
    Call(method="GET", path="/v3/certificates", carry_out=download, needs_agent=True),
)
