"""Keys of a shop: certificates for keys that are made elsewhere, the API v3 key, and what an SDK is given."""

import re
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from dewpond import merchants
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.merchants import Role
from web.notes import onward
from web.tills import Till


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def owner(till: Till, visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member(shop=till.shop))


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def request_for(key: Any, name: str = "anybody", digest: Any = None) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, digest or hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def serials(text: str) -> list[str]:
    return re.findall(r'<code class="serial">([0-9A-F]{40})</code></td>', text)


async def test_a_request_is_answered_with_a_certificate_in_the_shops_name(
    till: Till, owner: Any, rsa_key: rsa.RSAPrivateKey
) -> None:
    before = serials((await owner.get(f"{till.path}/keys")).text)
    assert before == [till.shop.certificate.serial]
    answer = await owner.send_form(f"{till.path}/certificates", csr=request_for(rsa_key, "1900000001"))
    assert onward(answer) == (303, f"{till.path}/keys", "certificate-made")
    text = (await owner.get(answer.headers["location"])).text
    assert "The certificate is ready" in text
    [fresh, *_] = serials(text)
    assert fresh not in before
    taken = await owner.get(f"{till.path}/certificates/{fresh}/apiclient_cert.pem")
    assert 'filename="apiclient_cert.pem"' in taken.headers["content-disposition"]
    assert taken.headers["cache-control"] == "no-store"
    made = x509.load_pem_x509_certificate(taken.content)
    assert made.public_key() == rsa_key.public_key()
    [name] = made.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == till.shop.merchant.number


async def test_what_is_no_good_request_is_said_beside_it(till: Till, owner: Any, rsa_key: rsa.RSAPrivateKey) -> None:
    good = request_for(rsa_key)
    spoiled = good[:-60] + ("A" if good[-60] != "A" else "B") + good[-59:]
    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - to be refused
    odd = rsa.generate_private_key(public_exponent=3, key_size=2048)
    for csr, said in [
        ("", "begins with -----BEGIN CERTIFICATE REQUEST-----"),
        ("nonsense <b>", "begins with -----BEGIN CERTIFICATE REQUEST-----"),
        (till.shop.certificate.pem, "begins with -----BEGIN CERTIFICATE REQUEST-----"),
        ("x" * 17_000, "too long"),
        (request_for(ec.generate_private_key(ec.SECP256R1())), "not an RSA key"),
        (request_for(small), "2048 to 4096 bits"),
        (request_for(odd), "must be 65537"),
        (spoiled, "not by its own key"),
    ]:
        answer = await owner.send_form(f"{till.path}/certificates", csr=csr)
        assert answer.status_code == 422, said
        assert said in answer.text, answer.text[-3000:]
        assert "<b>" not in answer.text.replace("nonsense &lt;b&gt;", "")
    assert len(serials((await owner.get(f"{till.path}/keys")).text)) == 1
    chinese = await owner.send_form(f"{till.path}/certificates", {"accept-language": "zh"}, csr="nonsense")
    assert "PEM" in chinese.text
    assert "begins with" not in chinese.text


async def test_a_private_key_that_was_pasted_by_mistake_is_not_shown_again(
    till: Till, owner: Any, rsa_key: rsa.RSAPrivateKey
) -> None:
    pem = rsa_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    answer = await owner.send_form(f"{till.path}/certificates", csr=pem)
    assert answer.status_code == 422
    assert "This is the private key itself" in answer.text
    assert pem.splitlines()[3] not in answer.text


async def test_a_certificate_is_revoked_once_and_only_by_its_shop(
    till: Till, owner: Any, visitors: Any, new_member: Any, new_merchant: Any, database: Database
) -> None:
    serial = till.shop.certificate.serial
    elsewhere = await new_merchant("Bakery")
    stranger = await visitors.member(await new_member("Eve", shop=elsewhere))
    theirs = f"/m/{elsewhere.merchant.number}/certificates/{serial}"
    assert (await stranger.send_form(f"{theirs}/revocation")).status_code == 404
    assert (await stranger.get(f"{theirs}/apiclient_cert.pem")).status_code == 404
    path = f"{till.path}/certificates/{serial}/revocation"
    assert (await owner.send_form(path)).status_code == 303
    text = (await owner.get(f"{till.path}/keys")).text
    assert "Revoked" in text
    assert path not in text
    assert (await owner.send_form(path)).status_code == 404
    async with database.transaction() as tx:
        [one] = await merchants.list_certificates(tx, till.shop.merchant.id)
    assert one.revoked_at is not None


def drawn_at(text: str) -> str:
    found = re.search(r'name="drawn_at" value="([^"]*)"', text)
    assert found
    return found[1].replace("&#43;", "+")


async def test_an_api_v3_key_is_shown_once(till: Till, owner: Any, house: Any) -> None:
    page = (await owner.get(f"{till.path}/keys")).text
    assert till.shop.api_v3_key not in page
    told = {"drawn_at": drawn_at(page)}
    shown = await owner.send_form(f"{till.path}/api-v3-key", **told)
    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    found = re.search(r'data-copy="([0-9A-Za-z]{32})"', shown.text)
    assert found
    key = found[1]
    async with house.db.transaction() as tx:
        assert await merchants.api_v3_key(tx, till.shop.merchant.id, secrets=house.secrets) == key.encode()
    again = await owner.send_form(f"{till.path}/api-v3-key", **told)  # the page loaded anew
    assert again.status_code == 409
    assert "was replaced in the meantime" in again.text
    assert key not in again.text
    for path in ("/keys", "", "/staff", "/deliveries", "/payments"):
        assert key not in (await owner.get(f"{till.path}{path}")).text
    async with house.db.transaction() as tx:
        assert await merchants.api_v3_key(tx, till.shop.merchant.id, secrets=house.secrets) == key.encode()


@pytest.mark.parametrize("moment", ["", "x", "2020-01-01", "2020-01-01T00:00:00+00:00"])
async def test_a_key_is_drawn_only_beside_the_one_that_was_seen(
    till: Till, owner: Any, house: Any, moment: str
) -> None:
    answer = await owner.send_form(f"{till.path}/api-v3-key", drawn_at=moment)
    assert answer.status_code in {409, 422}
    async with house.db.transaction() as tx:
        kept = await merchants.api_v3_key(tx, till.shop.merchant.id, secrets=house.secrets)
    assert kept.decode() == till.shop.api_v3_key


async def test_two_who_draw_at_once_draw_one(till: Till, owner: Any) -> None:
    import asyncio

    told = {"drawn_at": drawn_at((await owner.get(f"{till.path}/keys")).text)}
    answers = await asyncio.gather(*(owner.send_form(f"{till.path}/api-v3-key", **told) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]


async def test_the_key_mode_is_kept(till: Till, owner: Any, database: Database) -> None:
    assert (await owner.send_form(f"{till.path}/key-mode", key_mode="public_key")).status_code == 303
    async with database.transaction() as tx:
        assert (await merchants.get_merchant(tx, till.shop.merchant.id)).key_mode is merchants.KeyMode.PUBLIC_KEY
    text = (await owner.get(f"{till.path}/keys")).text
    assert re.search(r'value="public_key" checked', text)
    assert (await owner.send_form(f"{till.path}/key-mode", key_mode="none")).status_code == 422


async def test_an_sdk_is_told_all_it_needs(till: Till, owner: Any, world: Any) -> None:
    text = (await owner.get(f"{till.path}/keys")).text
    platform, public = till.shop.platform_certificate, till.shop.public_key
    wanted = (till.shop.merchant.number, till.shop.app.appid, till.shop.certificate.serial, platform.id, public.id)
    for part in (*wanted, "http://"):
        assert f'data-copy="{part}' in text, part
    for name, content in (("platform_cert.pem", platform.certificate), ("pub_key.pem", public.public_key)):
        answer = await owner.get(f"{till.path}/{name}")
        assert answer.text == content
        assert f'filename="{name}"' in answer.headers["content-disposition"]


async def test_ended_certificates_are_told_from_valid_ones(till: Till, owner: Any, owner_dsn: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(owner_dsn)
    past = clock.wall_now() - timedelta(days=1)
    await connection.execute(
        "update merchants.certificates set not_after = $1 where serial = $2", past, till.shop.certificate.serial
    )
    await connection.close()
    text = (await owner.get(f"{till.path}/keys")).text
    assert "Expired" in text
    assert f"revoke-{till.shop.certificate.serial}" not in text


async def test_keys_are_the_owners_alone(till: Till, visitors: Any, new_member: Any, rsa_key: Any) -> None:
    for role in (Role.CASHIER, Role.ANALYST):
        client = await visitors.member(await new_member(role.value, shop=till.shop, role=role))
        for path in ("/keys", "/platform_cert.pem", "/pub_key.pem"):
            assert (await client.get(f"{till.path}{path}")).status_code == 403, path
        for path, told in (
            ("/certificates", {"csr": request_for(rsa_key)}),
            (f"/certificates/{till.shop.certificate.serial}/revocation", {}),
            ("/api-v3-key", {"drawn_at": ""}),
            ("/key-mode", {"key_mode": "public_key"}),
        ):
            assert (await client.send_form(f"{till.path}{path}", **told)).status_code == 403, path


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_both_languages(till: Till, visitors: Any, new_member: Any, language: str) -> None:
    client = await visitors.member(await new_member(shop=till.shop), headers={"accept-language": language})
    answer = await client.get(f"{till.path}/keys")
    assert answer.status_code == 200
    assert f'<html lang="{language}"' in answer.text
