"""Every page of both sites × everybody who might come: generated from the routes, so that no page is forgotten."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from litestar.handlers import HTTPRouteHandler

from dewpond import merchants
from dewpond.kit.ids import new_id, to_text
from dewpond.merchants import Capability, Role
from dewpond.web import phone, staff
from dewpond.web.needs import NEEDS, Need, Needs

#: What stands for each parameter of a path: something that does not exist.
_NOWHERE = {"payment_id": to_text("pay", new_id()), "person_id": to_text("per", new_id())}


@dataclass(frozen=True)
class Door:
    """One method of one route."""

    site: str
    method: str
    path: str
    need: Need

    def __str__(self) -> str:
        return f"{self.method} {self.site}:{self.path}"

    def address(self, mchid: str) -> str:
        parts = []
        for part in self.path.split("/"):
            if not part.startswith("{"):
                parts.append(part)
                continue
            name, _, kind = part.strip("{}").partition(":")
            parts.append(
                mchid if name == "mchid" else str(UUID(int=7)) if kind == "uuid" else _NOWHERE.get(name, "none")
            )
        return "/".join(parts)

    @property
    def is_plain_page(self) -> bool:
        return self.method == "GET" and "{" not in self.path.replace("{mchid:str}", "") and self.path[-5:] != "/live"


def doors_of(site: str, routes: list[HTTPRouteHandler]) -> list[Door]:
    return [
        Door(site, method, path, route.opt[NEEDS])
        for route in routes
        for path in route.paths
        for method in sorted(route.http_methods)
        if method in {"GET", "POST", "PUT", "PATCH", "DELETE"}
    ]


DOORS = [*doors_of("phone", phone.ROUTES), *doors_of("staff", staff.ROUTES)]


@dataclass
class Everybody:
    """One visitor of each kind, and the shop it is about."""

    mchid: str
    clients: dict[str, Any]


@pytest.fixture
async def everybody(visitors: Any, new_member: Any, new_merchant: Any, new_person: Any) -> Everybody:
    shop, elsewhere = await new_merchant("Tea Shop"), await new_merchant("Bakery")
    clients = {
        "stranger on the phone": visitors.stranger("phone"),
        "person": await visitors.person(await new_person("Alice", "10.00")),
        "stranger at work": visitors.stranger("staff"),
        "operator": await visitors.member(await new_member("Olga", is_operator=True)),
        "owner elsewhere": await visitors.member(await new_member("Eve", shop=elsewhere)),
    }
    for role in Role:
        clients[role.value] = await visitors.member(await new_member(role.value, shop=shop, role=role))
    return Everybody(shop.merchant.number, clients)


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
            address = door.address(everybody.mchid)
            if door.method == "GET":
                answer = await client.get(address)
            else:
                answer = await client.send_form(address)
            outcome = expected(door, visitor)
            to_sign_in = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
            fine = {
                "sign in": to_sign_in,
                "not found": answer.status_code == 404,
                "forbidden": answer.status_code == 403,
                "in": answer.status_code == 200 if door.is_plain_page else not answer.status_code >= 500,
            }[outcome]
            if door.is_plain_page and outcome == "in" and answer.status_code == 303 and not to_sign_in:
                fine = True  # leads on to where one wants to be
            if not fine:
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
