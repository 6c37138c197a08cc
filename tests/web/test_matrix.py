"""Every page of both sites × everybody who might come: generated from the routes, so that no page is forgotten."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from dewpond import identity, merchants, openplatform
from dewpond.kit import clock, crypto
from dewpond.kit.ids import new_id, to_text
from dewpond.merchants import Capability, Role
from dewpond.web.needs import Needs
from web.accounts import claim
from web.desks import hidden
from web.phones import Phone
from web.sights import DOORS, Door
from web.tills import Till

#: What is typed into the forms that want something. {key} is new each time, other names are things of the world.
FORMS: Final[Mapping[str, Mapping[str, str]]] = {
    "/proof/pin": {"pin": "123456"},
    "/scan": {"code": "{code to pay}"},
    "/s/{scan:str}/approval": {"number": "{scan_number}"},
    "/q/{code:str}/confirmation": {"pin": "123456"},
    "/m/{code:str}/payment": {"amount": "1.00", "key": "{key}"},
    "/top-up": {"amount": "10.00"},
    "/security/pin": {"pin": "123456", "again": "123456"},
    "/security/passkeys/{passkey:str}/name": {"name": "Mine"},
    "/me/name": {"name": "Alice"},
    "/account/password": {"password": "a long password", "again": "a long password"},
    "/m/{mchid:str}/payments/{payment_id:str}/refunds": {"amount": "1.00", "key": "{key}"},
    "/m/{mchid:str}/codes": {"title": "Window"},
    "/m/{mchid:str}/certificates": {"csr": "{csr}"},
    "/m/{mchid:str}/api-v3-key": {"drawn_at": "{drawn_at}"},
    "/m/{mchid:str}/key-mode": {"key_mode": "public_key"},
    "/m/{mchid:str}/staff": {"name": "Ivy", "sign_in_name": "ivy-{key}", "role": "cashier"},
    "/m/{mchid:str}/staff/known": {"sign_in_name": "{sign_in_name}", "role": "cashier"},
    "/m/{mchid:str}/staff/{staff_id:str}/role": {"role": "analyst"},
    "/desk/merchants": {"key": "{key}", "name": "Grocery", "owner_sign_in_name": "owner-{key}", "owner_name": "Gu"},
    "/desk/merchants/{number:str}/key-mode": {"key_mode": "certificate"},
    "/desk/people": {"who": "{person_number}"},
    "/desk/people/{person_id:str}/top-ups": {"key": "{key}", "amount": "1.00", "reason": "cash"},
    "/desk/ledger/checks": {"key": "{key}"},
    "/desk/clock/moves": {"key": "{key}", "count": "1", "unit": "minutes"},
    "/desk/staff": {"name": "Ola", "sign_in_name": "ola-{key}"},
}
#: What who may is answered where a test cannot do what is wanted, or the world has nothing of the kind.
ANSWERS: Final[Mapping[str, int]] = {
    # An authenticator's answer to a question that is still open.
    "/proof/passkey": 422,
    "/security/passkeys": 422,
    "/account/passkeys": 422,
    # A phone that said yes.
    "/sign-in/scan/redemption": 409,
    # A sum that waits for a second operator, as there are in live worlds.
    "/desk/top-ups/{person_id:str}/{proposal_id:uuid}/agreement": 404,
    "/desk/top-ups/{person_id:str}/{proposal_id:uuid}/refusal": 404,
}
REFUSALS: Final = {"not found": 404, "forbidden": 403}


@dataclass
class Everybody:
    """One visitor of each kind, the shop it is about, and one of everything that an address or a form names."""

    mchid: str
    clients: dict[str, Any]
    #: By name, or by a door's path and name where that door wants one of its own.
    things: dict[str, str]
    #: What each visitor has of their own: a passkey.
    own: dict[str, dict[str, str]]

    def _things(self, door: Door, visitor: str) -> dict[str, str]:
        known = self.things | self.own.get(visitor, {})
        special = {
            name.removeprefix(door.path + " "): thing
            for name, thing in known.items()
            if name.startswith(f"{door.path} ")
        }
        return known | special | {"key": str(new_id())}

    def address(self, door: Door, visitor: str) -> str:
        """Where it is: with something that is there, so that who may is not refused for want of it."""
        things = self._things(door, visitor)
        return re.sub(r"\{(\w+):\w+\}", lambda found: things[found[1]], door.path)

    def form(self, door: Door, visitor: str) -> dict[str, str]:
        """What is typed there."""
        things = self._things(door, visitor)
        return {name: text.format_map(things) for name, text in FORMS.get(door.path, {}).items()}


@pytest.fixture
async def everybody(
    house: Any, visitors: Any, new_member: Any, new_merchant: Any, new_person: Any, merchant_key_pem: bytes
) -> Everybody:
    shop, elsewhere = await new_merchant("Tea Shop"), await new_merchant("Bakery")
    alice = await new_person("Alice", "100.00")
    clients = {
        "stranger on the phone": visitors.stranger("phone"),
        "person": await visitors.person(alice),
        "stranger at work": visitors.stranger("staff"),
        "operator": await visitors.member(await new_member("Olga", is_operator=True)),
        "owner elsewhere": await visitors.member(await new_member("Eve", shop=elsewhere)),
    }
    for role in Role:
        clients[role.value] = await visitors.member(await new_member(role.value, shop=shop, role=role))
    till = Till(house, shop)
    bob = await new_person("Bob", "100.00")
    paid, asked, standing = await till.sell(alice), await till.ask("1.00"), await till.put_up()
    await till.settle()
    cora, carl = [await new_member(name, shop=shop) for name in ("Cora", "Carl")]
    fay, gil = [await new_member(name, shop=elsewhere) for name in ("Fay", "Gil")]
    dan = await new_member("Dan", is_operator=True)
    await claim(house.db, fay)
    own = {
        visitor: await passkey_of(client) for visitor, client in clients.items() if not visitor.startswith("stranger")
    }
    keys = (await clients["owner"].get(f"/m/{shop.merchant.number}/keys")).text
    async with house.db.transaction() as tx:
        [delivery] = await openplatform.list_deliveries(tx, merchant_id=shop.merchant.id)
        wall = clock.wall_now()
        scan, other = [
            await identity.begin_scan(tx, device="Firefox", address="192.0.2.14", wall_now=wall) for _ in range(2)
        ]
        invitation = await merchants.invite(tx, (await new_member("Nora")).id, wall_now=wall)
    things = {
        "mchid": shop.merchant.number,
        "number": elsewhere.merchant.number,
        "scan": scan.text_id,
        "/s/{scan:str}/refusal scan": other.text_id,
        "scan_number": str(scan.number),
        "code": standing.code,
        "code to pay": asked.code,
        **{f"/q/{{code:str}}{rest} code": asked.code for rest in ("", "/challenge", "/confirmation")},
        "/pools/{number:str} number": shop.merchant.number,
        "payment": paid.text_id,
        "payment_id": paid.text_id,
        "open_id": await till.open_id(alice),
        "delivery_id": openplatform.to_text(delivery.id),
        "serial": shop.certificate.serial,
        "/desk/merchants/{number:str}/certificates/{serial:str}/revocation serial": elsewhere.certificate.serial,
        "csr": crypto.certificate_signing_request(merchant_key_pem, shop.merchant.number).decode(),
        "drawn_at": hidden(keys, "drawn_at"),
        "staff_id": cora.text_id,
        "/m/{mchid:str}/staff/{staff_id:str}/end staff_id": carl.text_id,
        "/desk/merchants/{number:str}/staff/{staff_id:str}/invitation staff_id": gil.text_id,
        **{f"/desk/staff/{{staff_id:str}}/{word} staff_id": dan.text_id for word in ("invitation", "end")},
        "sign_in_name": fay.sign_in_name,
        "token": invitation,
        "person_id": bob.text_id,
        "person_number": bob.number,
        "device": to_text("ses", new_id()),
        "session_id": str(new_id()),
        "job_id": to_text("job", new_id()),
        "proposal_id": str(new_id()),
        "passkey": to_text("pky", new_id()),
        "passkey_id": str(new_id()),
    }
    return Everybody(shop.merchant.number, clients, things, own)


async def passkey_of(client: Any) -> dict[str, str]:
    """Make one for whoever is signed in there."""
    is_person = client.cookies.get("dewpond-person") is not None
    path, page = ("/security/passkeys", "/security") if is_person else ("/account/passkeys", "/account")
    made = await Phone(client).create(path, f"{path}/challenge")
    assert made.status_code == 303
    (found,) = set(re.findall(rf"{path}/([\w-]{{30,}})", (await client.get(page)).text))
    return {"passkey" if is_person else "passkey_id": found}


def expected(door: Door, visitor: str) -> str:
    """What must come of it: "sign in", "not found", "forbidden", or "in"."""
    if door.need is Needs.NOBODY:
        return "in"
    if visitor.startswith("stranger"):
        return "sign in"
    if door.need is Needs.OPERATOR:
        return "in" if visitor == "operator" else "not found"
    if isinstance(door.need, Capability):
        if visitor not in set(Role):
            return "not found"
        return "in" if door.need in merchants.CAPABILITIES[Role(visitor)] else "forbidden"
    return "in"


def is_right(door: Door, outcome: str, answer: Any) -> bool:
    """Whether this is what must come of it."""
    status = answer.status_code
    to_sign_in = status == 303 and urlsplit(answer.headers["location"]).path == "/sign-in"
    if outcome == "sign in":
        return to_sign_in
    if outcome in REFUSALS:
        return status == REFUSALS[outcome]
    if door.method == "GET":
        return status == 200 or (status == 303 and not to_sign_in)  # which leads on to where one wants to be
    if to_sign_in:
        return False
    if door.path in ANSWERS:
        return status == ANSWERS[door.path]
    # What is open to everybody is sent as it is, with nothing typed: else it would sign somebody in.
    return status < 400 or (status == 422 and door.need is Needs.NOBODY)


async def test_every_page_refuses_whom_it_is_not_for(everybody: Everybody) -> None:
    wrong, looked = [], 0
    for door in DOORS:
        for visitor, client in everybody.clients.items():
            if (visitor in {"person", "stranger on the phone"}) != (door.site == "phone"):
                continue
            if visitor == "person" and door.path == "/sign-out":
                continue  # it would be the last page of this walk
            if (door.path == "/sign-out" or door.path.endswith("/live")) and expected(door, visitor) == "in":
                continue
            looked += 1
            address = everybody.address(door, visitor)
            if door.method == "GET":
                answer = await client.get(address)
            else:
                answer = await client.send_form(address, **everybody.form(door, visitor))
            outcome = expected(door, visitor)
            if not is_right(door, outcome, answer):
                wrong.append(f"{door} by {visitor}: {answer.status_code}, not {outcome}")
    assert not wrong, "\n".join(wrong)
    assert looked > 200


async def test_a_session_of_one_site_is_nothing_at_the_other(everybody: Everybody, visitors: Any) -> None:
    person = everybody.clients["person"]
    token = person.cookies.get("dewpond-person")
    for name in ("dewpond-person", "dewpond-staff"):
        stranger = visitors.stranger("staff")
        stranger.cookies.set(name, token)
        answer = await stranger.get(f"/m/{everybody.mchid}")
        assert answer.headers["location"].startswith("/sign-in"), name
    owner = everybody.clients["owner"]
    stranger = visitors.stranger("phone")
    stranger.cookies.set("dewpond-person", owner.cookies.get("dewpond-staff"))
    assert (await stranger.get("/")).headers["location"].startswith("/sign-in")
