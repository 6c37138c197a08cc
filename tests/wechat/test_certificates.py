"""The platform's certificates, and callbacks, as a merchant's software reads them."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from dewpond import merchants
from dewpond.kit import clock, crypto
from dewpond.kit.crypto import Verifier

from .conftest import Client, Heard

PATH = "/v3/certificates"


def _opened(client: Client, heard: Heard) -> dict[str, bytes]:
    """The certificates of an answer by serial, decrypted."""
    opened = {}
    for each in heard.json["data"]:
        sealed = each["encrypt_certificate"]
        assert sealed["algorithm"] == "AEAD_AES_256_GCM"
        assert len(sealed["nonce"]) == 12
        opened[each["serial_no"]] = client.cipher.open(sealed["ciphertext"], sealed["associated_data"], sealed["nonce"])
    return opened


def _is_signed_by_one_of(heard: Heard, opened: dict[str, bytes]) -> bool:
    pem = opened[heard.header("Wechatpay-Serial") or ""]
    message = f"{heard.header('Wechatpay-Timestamp')}\n{heard.header('Wechatpay-Nonce')}\n".encode()
    verifier = Verifier(crypto.certified_key(crypto.parse_certificate(pem)))
    return verifier.verify(message + heard.body + b"\n", heard.header("Wechatpay-Signature") or "")


@pytest.mark.parametrize("mode", list(merchants.KeyMode))
@pytest.mark.parametrize("query", ["", "?algorithm_type=RSA", "?algorithm_type=ALL"])
async def test_the_answer_brings_the_certificate_that_signs_it_whatever_the_mode(
    mode: merchants.KeyMode, query: str, new_client: Any
) -> None:
    client = await new_client(mode)
    heard = await client.ask("GET", PATH + query, headers={"Wechatpay-Serial": ""})
    assert heard.status == 200
    opened = _opened(client, heard)
    assert _is_signed_by_one_of(heard, opened)
    for each in heard.json["data"]:
        certificate = crypto.parse_certificate(opened[each["serial_no"]])
        assert crypto.serial_text(certificate) == each["serial_no"]
        assert datetime.fromisoformat(each["effective_time"]) == certificate.not_valid_before_utc
        assert datetime.fromisoformat(each["expire_time"]) == certificate.not_valid_after_utc
        assert certificate.not_valid_before_utc < clock.wall_now() < certificate.not_valid_after_utc
        assert each["effective_time"].endswith("+08:00")


async def test_who_names_the_public_key_gets_its_signature(client: Client) -> None:
    heard = await client.ask("GET", PATH, headers={"Wechatpay-Serial": client.shop.public_key.id})
    assert heard.header("Wechatpay-Serial") == client.shop.public_key.id
    assert client.verifies(heard)


async def test_a_new_certificate_comes_beside_the_old_one_and_either_can_be_named(client: Client, secrets: Any) -> None:
    async with client.house.db.transaction() as tx:
        added = await merchants.rotate_platform_certificate(tx, secrets=secrets, wall_now=clock.wall_now())
    heard = await client.ask("GET", PATH)
    old = client.shop.platform_certificate.id
    assert [each["serial_no"] for each in heard.json["data"]] == [added.id, old]
    for named, signs in ((None, added.id), (old, old), (added.id.lower(), added.id)):
        heard = await client.ask("GET", PATH, headers={"Wechatpay-Serial": named})
        assert heard.header("Wechatpay-Serial") == signs
        assert _is_signed_by_one_of(heard, _opened(client, heard))


@pytest.mark.parametrize("query", ["algorithm_type=SM2", "algorithm_type=", "algorithm_type=RSA&algorithm_type=ALL"])
async def test_other_algorithms_are_refused(query: str, client: Client) -> None:
    heard = await client.ask("GET", f"{PATH}?{query}")
    assert (heard.status, heard.code) == (400, "PARAM_ERROR")
    assert heard.json["detail"]["location"] == "query"
    assert heard.json["detail"]["field"] == "algorithm_type"


async def test_another_merchant_cannot_open_what_was_sealed_for_me(client: Client, new_client: Any) -> None:
    heard, other = await client.ask("GET", PATH), await new_client()
    with pytest.raises(crypto.CiphertextInvalid):
        _opened(other, heard)


@pytest.mark.parametrize("left", ["-1 day", "29 days"])
async def test_where_none_is_valid_for_long_the_answer_brings_and_is_signed_with_a_new_one(
    left: str, client: Client
) -> None:
    """A server may run for longer than a certificate."""

    async def let_them_end(changes: dict[str, datetime | None]) -> dict[str, datetime | None]:
        async with client.house.db.transaction() as tx:
            rows = await tx.connection.fetch(
                "select id, not_after from merchants.platform_keys where merchant_id is null"
            )
            for key_id, not_after in changes.items():
                change = "update merchants.platform_keys set not_after = $2 where id = $1"
                await tx.connection.execute(change, key_id, not_after)
        return {row["id"]: row["not_after"] for row in rows}

    before = await let_them_end({})
    ended = clock.wall_now() + {"-1 day": timedelta(days=-1), "29 days": timedelta(days=29)}[left]
    await let_them_end(dict.fromkeys(before, ended))
    try:
        for serial in ("", next(iter(before))):
            heard = await client.ask("GET", PATH, headers={"Wechatpay-Serial": serial})
            assert heard.status == 200
            opened = _opened(client, heard)
            assert len(set(opened) - set(before)) == 1
            assert _is_signed_by_one_of(heard, opened)
    finally:
        await let_them_end(before)
