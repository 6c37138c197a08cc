"""Before keys and staff change hands, whoever is at the browser shows that it is they; what was typed is not lost."""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dewpond import merchants
from dewpond.kit.db import Database
from dewpond.merchants import Capability, Role, StaffMember
from dewpond.web import console
from dewpond.web.needs import NEEDS
from web.accounts import PASSWORD, claim
from web.phones import Phone, grow_stale
from web.tills import Till

#: Each sensitive act with what its form says, and how its answer begins when it is done.
ACTS: Final[Mapping[str, tuple[dict[str, str], int]]] = {
    "/certificates": ({"csr": "{csr}"}, 303),
    "/certificates/{serial:str}/revocation": ({}, 303),
    "/api-v3-key": ({"drawn_at": "{drawn_at}"}, 200),
    "/staff": ({"sign_in_name": "new-{own_id}", "name": 'New <b> "One"', "role": "analyst"}, 200),
    "/staff/known": ({"sign_in_name": "{known}", "role": "cashier"}, 303),
    "/staff/{staff_id:str}/role": ({"role": "analyst"}, 303),
    "/staff/{staff_id:str}/end": ({}, 303),
    "/staff/{staff_id:str}/invitation": ({}, 200),
}
#: Changes which of our keys signs, and lets nobody in.
HARMLESS: Final = {"/key-mode"}


@dataclass
class Scene:
    """A shop whose owner has a password, and a browser of theirs that was left open."""

    till: Till
    mei: StaffMember
    left_open: Any
    known: dict[str, str]
    database: Database

    def act(self, path: str) -> tuple[str, dict[str, str]]:
        address = re.sub(r"\{(\w+):str\}", lambda name: self.known[name[1]], path)
        fields = {name: value.format(**self.known) for name, value in ACTS[path][0].items()}
        return f"{self.till.path}{address}", fields

    async def state(self) -> Any:
        """Whatever one of the acts would change."""
        merchant_id = self.till.shop.merchant.id
        async with self.database.transaction() as tx:
            return (
                [(one.serial, one.revoked_at) for one in await merchants.list_certificates(tx, merchant_id)],
                await merchants.api_v3_key_drawn_at(tx, merchant_id),
                [(member.id, role) for member, role in await merchants.list_staff(tx, merchant_id)],
                await tx.connection.fetch("select staff_id, token_hash from merchants.invitations order by 1"),
            )


@pytest.fixture(scope="module")
def csr() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "anybody")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
async def scene(house: Any, new_merchant: Any, new_member: Any, visitors: Any, database: Database, csr: str) -> Scene:
    till = Till(house, await new_merchant("Tea Shop"))
    mei = await new_member("Mei", shop=till.shop)
    cas = await new_member("Cas", shop=till.shop, role=Role.CASHIER)
    known = await new_member("Kay", shop=await new_merchant("Bakery"))
    for member in (mei, known):
        await claim(database, member)
    async with database.transaction() as tx:
        drawn_at = await merchants.api_v3_key_drawn_at(tx, till.shop.merchant.id)
    return Scene(
        till=till,
        mei=mei,
        left_open=await visitors.member(mei, is_proven=False),
        known={
            "csr": csr,
            "serial": till.shop.certificate.serial,
            "drawn_at": drawn_at.isoformat() if drawn_at else "",
            "own_id": mei.sign_in_name,
            "known": known.sign_in_name,
            "staff_id": cas.text_id,
        },
        database=database,
    )


def form_on(text: str, field: str) -> tuple[str, dict[str, str]]:
    """Where the form with this field goes, and what it holds besides."""
    for action, inner in re.findall(r'<form[^>]* action="([^"]*)"[^>]*>(.*?)</form>', text, re.S):
        if f'name="{field}"' in inner:
            told = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', inner)
            return action, {name: html.unescape(value) for name, value in told}
    raise AssertionError(f"no form has a field {field}")


def test_no_act_upon_keys_and_staff_is_forgotten() -> None:
    found = {
        path.removeprefix("/m/{mchid:str}")
        for route in console.ROUTES
        for path in route.paths
        if "POST" in route.http_methods and any(route.opt[NEEDS] is one for one in (Capability.KEYS, Capability.STAFF))
    }
    assert found == ACTS.keys() | HARMLESS


@pytest.mark.parametrize("path", ACTS)
async def test_an_act_waits_for_a_proof_and_loses_nothing(scene: Scene, path: str) -> None:
    address, fields = scene.act(path)
    before = await scene.state()
    asked = await scene.left_open.send_form(address, **fields)
    assert (asked.status_code, asked.headers["cache-control"]) == (403, "no-store")
    assert "Show that it is you" in asked.text
    assert "<b>" not in asked.text
    assert await scene.state() == before
    assert form_on(asked.text, "proof_password") == (address, fields)

    wrong = await scene.left_open.send_form(address, **fields, proof_password="not the password")
    assert wrong.status_code == 401
    assert "That is not your password" in wrong.text
    assert "not the password" not in wrong.text
    assert form_on(wrong.text, "proof_password") == (address, fields)
    assert await scene.state() == before

    done = await scene.left_open.send_form(address, **fields, proof_password=PASSWORD)
    assert done.status_code == ACTS[path][1]
    assert await scene.state() != before


async def test_a_proof_holds_for_a_while_and_in_its_session_only(scene: Scene, visitors: Any) -> None:
    elsewhere = await visitors.member(scene.mei, is_proven=False)
    path = f"{scene.till.path}/staff/{scene.known['staff_id']}/role"
    for role, told, status in (
        ("analyst", {}, 403),
        ("analyst", {"proof_password": PASSWORD}, 303),
        ("owner", {}, 303),
        ("cashier", {"proof_password": "ignored, for nobody asks"}, 303),
    ):
        assert (await scene.left_open.send_form(path, role=role, **told)).status_code == status
    assert (await elsewhere.send_form(path, role="owner")).status_code == 403
    await grow_stale(scene.database, scene.mei.id)
    assert (await scene.left_open.send_form(path, role="owner")).status_code == 403


async def test_a_passkey_proves_as_well_as_a_password(scene: Scene, visitors: Any) -> None:
    mine = Phone(await visitors.member(scene.mei))
    await mine.create("/account/passkeys", "/account/passkeys/challenge")
    address, fields = scene.act("/staff")
    here = Phone(scene.left_open)
    here.authenticator.credentials = mine.authenticator.credentials
    asked = await scene.left_open.send_form(address, **fields)
    assert 'data-options-url="/proof/passkey/challenge"' in asked.text
    assert form_on(asked.text.split("proof_password")[0], "role") == (address, fields)

    challenge_id, options = await here.ask("/proof/passkey/challenge", **fields)
    signed = here.authenticator.get(options)
    stolen = Phone(await visitors.member(scene.mei, is_proven=False))
    answer = {"challenge_id": challenge_id, "response": signed}
    assert (await stolen.client.send_form(address, **fields, **answer)).status_code >= 400, "asked in another session"
    for broken in ({**answer, "response": "{}"}, {"challenge_id": challenge_id, "response": "x"}):
        refused = await scene.left_open.send_form(address, **fields, **broken)
        assert refused.status_code in {403, 422}
        assert "/invitations/" not in refused.text
    done = await here.sign(address, "/proof/passkey/challenge", **fields)
    assert done.status_code == 200
    assert "/invitations/" in done.text


async def test_who_has_a_passkey_alone_is_asked_for_no_password(scene: Scene, visitors: Any, new_member: Any) -> None:
    kim = await new_member("Kim", shop=scene.till.shop)
    await Phone(await visitors.member(kim)).create("/account/passkeys", "/account/passkeys/challenge")
    left_open = await visitors.member(kim, is_proven=False)
    asked = await left_open.send_form(f"{scene.till.path}/api-v3-key", drawn_at=scene.known["drawn_at"])
    assert asked.status_code == 403
    assert "Use passkey" in asked.text
    assert "proof_password" not in asked.text
    guessed = {"drawn_at": scene.known["drawn_at"], "proof_password": PASSWORD}
    assert (await left_open.send_form(f"{scene.till.path}/api-v3-key", **guessed)).status_code == 401


async def test_an_account_that_is_nobodys_yet_is_not_asked(scene: Scene, visitors: Any, new_member: Any) -> None:
    tapped = await visitors.member(await new_member("Tap", shop=scene.till.shop), is_proven=False)
    path = f"{scene.till.path}/staff/{scene.known['staff_id']}/role"
    assert (await tapped.send_form(path, role="analyst")).status_code == 303


async def test_wrong_passwords_are_counted_with_those_of_the_sign_in(scene: Scene, visitors: Any) -> None:
    path = f"{scene.till.path}/api-v3-key"
    for status in [401] * 9 + [403] * 2:
        answer = await scene.left_open.send_form(path, proof_password="wrong wrong wrong")
        assert answer.status_code == status
    assert "locked for fifteen minutes" in answer.text
    assert (await scene.left_open.send_form(path, proof_password=PASSWORD)).status_code == 403
    told = {"sign_in_name": scene.mei.sign_in_name, "password": PASSWORD}
    assert (await visitors.stranger("staff").send_form("/sign-in", **told)).status_code == 403


async def test_a_private_key_that_was_pasted_by_mistake_rides_along_nowhere(scene: Scene) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
    answer = await scene.left_open.send_form(f"{scene.till.path}/certificates", csr=pem)
    assert answer.status_code == 422
    assert "MIIEvQ" not in answer.text


async def test_daily_work_asks_for_nothing(scene: Scene, new_person: Any) -> None:
    alice = await new_person("Alice", "90.00")
    paid = await scene.till.sell(alice)
    page = f"{scene.till.path}/payments/{paid.text_id}"
    [key] = re.findall(r'name="key" value="([^"]+)"', (await scene.left_open.get(page)).text)
    assert (await scene.left_open.send_form(f"{page}/refunds", amount="1.00", key=key)).status_code == 303
    assert (await scene.left_open.send_form(f"{scene.till.path}/codes", title="Counter")).status_code == 303
    assert (await scene.left_open.send_form(f"{scene.till.path}/key-mode", key_mode="certificate")).status_code == 303


async def test_whom_an_act_is_not_for_is_refused_before_any_proof(
    scene: Scene, visitors: Any, new_member: Any, new_merchant: Any
) -> None:
    cashier = await new_member("Cash", shop=scene.till.shop, role=Role.CASHIER)
    stranger = await new_member("Eve", shop=await new_merchant("Elsewhere"))
    for member, status in ((cashier, 403), (stranger, 404)):
        await claim(scene.database, member)
        client = await visitors.member(member, is_proven=False)
        for path in ACTS:
            address, fields = scene.act(path)
            answer = await client.send_form(address, **fields, proof_password=PASSWORD)
            assert answer.status_code == status, path
            assert "proof_password" not in answer.text


# --- before a page ----------------------------------------------------------------------------------------------------


async def test_a_page_that_asks_first_leads_on(scene: Scene) -> None:
    assert 'href="/proof?next=/account"' in (await scene.left_open.get("/account")).text
    asked = await scene.left_open.get("/proof?next=/account")
    assert asked.status_code == 200
    address, fields = form_on(asked.text, "proof_password")
    assert (address, fields) == ("/proof", {"next": "/account"})
    answer = await scene.left_open.send_form(address, **fields, proof_password=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert "/proof" not in (await scene.left_open.get("/account")).text
    assert (await scene.left_open.get("/proof?next=/account")).headers["location"] == "/account"


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "", "/\\evil.example"])
async def test_the_way_on_never_leads_elsewhere(scene: Scene, next_: str) -> None:
    assert "evil" not in (await scene.left_open.get("/proof", params={"next": next_})).text
    answer = await scene.left_open.send_form("/proof", next=next_, proof_password=PASSWORD)
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_both_languages(scene: Scene, visitors: Any, language: str) -> None:
    client = await visitors.member(scene.mei, is_proven=False, headers={"accept-language": language})
    for path in ACTS:
        address, fields = scene.act(path)
        answer = await client.send_form(address, **fields)
        assert answer.status_code == 403
        assert f'<html lang="{language}"' in answer.text
