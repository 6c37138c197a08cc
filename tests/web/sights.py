"""Every page there is to see: generated from the routes, so that none is forgotten, in a world where a story was told.

A route whose address names one thing must say here which thing of the story is looked at; `every_sight` refuses a route
of which it does not know that. Beside them stand pages as they are before anything has happened, and after.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from litestar.handlers import HTTPRouteHandler

from dewpond import identity
from dewpond.kit import clock
from dewpond.kit.ids import new_id, to_text
from dewpond.merchants import Capability
from dewpond.web import phone, staff
from dewpond.web.needs import NEEDS, Need, Needs
from web.conftest import Client
from web.stories import Story

#: What stands for each parameter of a path: something that does not exist.
_NOWHERE = {"payment_id": to_text("pay", new_id()), "person_id": to_text("per", new_id())}

#: What is fetched beside pages, and pieces of pages.
_NO_PAGES: Final = re.compile(
    r"\.(webmanifest|js|ico|pem|svg)$|/live$|^/sign-in/scan/state$|^/q/\{code:str\}/confirmation$|/payments/\{payment_id:str\}/refunds$"
)


# --- routes -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Door:
    """One method of one route."""

    site: str
    method: str
    path: str
    need: Need
    #: Not a page of its own: it shows the way to one.
    leads_on: bool = False

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
    def is_page(self) -> bool:
        return self.method == "GET" and not self.leads_on and not _NO_PAGES.search(self.path)

    @property
    def is_plain_page(self) -> bool:
        return self.method == "GET" and "{" not in self.path.replace("{mchid:str}", "") and self.path[-5:] != "/live"


def doors_of(site: str, routes: list[HTTPRouteHandler]) -> list[Door]:
    return [
        Door(site, method, path, route.opt[NEEDS], route.status_code == 303)
        for route in routes
        for path in route.paths
        for method in sorted(route.http_methods)
        if method in {"GET", "POST", "PUT", "PATCH", "DELETE"}
    ]


DOORS = [*doors_of("phone", phone.ROUTES), *doors_of("staff", staff.ROUTES)]


# --- sights -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sight:
    """A page as somebody sees it. In addresses, what stands in braces is a shop or a place of the story."""

    name: str
    visitor: str
    address: str
    status: int = 200
    #: What is done on it before it is looked at: what is typed where, with a {number} of its own, then what is pressed
    #: as far as it is there.
    press: tuple[str, ...] = ()
    typed: Mapping[str, str] = field(default_factory=dict)

    @property
    def site(self) -> str:
        return "phone" if self.visitor in _ON_THE_PHONE else "staff"

    @property
    def frame(self) -> str:
        """By which of the three it belongs: phone, console or desk."""
        return "phone" if self.site == "phone" else "desk" if self.address.startswith("/desk") else "console"


#: Who looks, by the names of the story. Nobody is nobody in particular; Ruth and Pat have only just come.
_ON_THE_PHONE: Final = {"nobody", "Alice", "Alice again", "Ruth"}
_BY_NEED: Final = {Needs.PERSON: "Alice", Needs.STAFF: "Mei", Needs.OPERATOR: "Olga"}

#: What is looked at where an address names one thing: (a name for it, the thing, the page's status).
_ONE: Final[dict[str, tuple[tuple[str, str, int], ...]]] = {
    "/s/{scan:str}": (("", "{scan}", 200),),
    "/q/{code:str}": (
        ("", "{code}", 200),
        ("small", "{small code}", 200),
        ("dear", "{dear code}", 200),
        ("late", "{late code}", 409),
        ("unknown", "AAAAAAAAAAAAAAAA", 404),
    ),
    "/receipts/{payment:str}": (("", "{payment}", 200),),
    "/m/{code:str}": (("", "{standing code}", 200), ("ended", "{ended code}", 409)),
    "/pools/{number:str}": (("", "{tea}", 200),),
    "/security/passkeys/{passkey:str}": (("", "{passkey}", 200),),
    "/invitations/{token:str}": (("", "{invitation}", 200), ("spent", "none", 404)),
    "/m/{mchid:str}/payments/{payment_id:str}": (("", "{payment}", 200), ("unheard", "{unheard payment}", 200)),
    "/m/{mchid:str}/pool/{open_id:str}": (("", "{contact}", 200),),
    "/m/{mchid:str}/codes/{code:str}": (("", "{standing code}", 200),),
    "/m/{mchid:str}/deliveries/{delivery_id:str}": (
        ("delivered", "{delivered delivery}", 200),
        ("dead", "{dead delivery}", 200),
    ),
    "/desk/merchants/{number:str}": (("", "{tea}", 200),),
    "/desk/people/{person_id:str}": (("", "{person}", 200),),
    "/desk/deliveries/{delivery_id:str}": (("pending", "{pending delivery}", 200),),
}

#: Pages whose address does not say well what they are.
_NAMES: Final = {
    "/": "home",
    "/m/{mchid:str}": "today",
    "/q/{code:str}": "checkout",
    "/m/{code:str}": "standing",
    "/s/{scan:str}": "scan-asks",
}

#: Beside what the routes name: before anything has happened, after something was asked for, when something is wrong.
_ALSO: Final = (
    Sight("phone-home-new", "Ruth", "/"),
    Sight("phone-history-new", "Ruth", "/history"),
    Sight("phone-history-nothing-found", "Alice", "/history?q=umbrella"),
    Sight("phone-pools-new", "Ruth", "/pools"),
    Sight("phone-security-new", "Ruth", "/security"),
    Sight("phone-checkout-without-pin", "Ruth", "/q/{code}"),
    Sight("phone-limits-proof", "Alice again", "/proof?next=/security/limits"),
    Sight("phone-note", "Alice", "/me/name", press=("form[action='/me/name'] button",)),
    Sight("phone-scan-code", "nobody", "/sign-in/scan", press=("form[action='/sign-in/scan'] button",)),
    Sight("phone-problem", "Alice", "/nowhere", status=404),
    Sight("phone-passkey-removal", "Alice", "/security/passkeys/{passkey}", press=("[popovertarget]",)),
    Sight("console-sign-in", "a stranger", "/sign-in"),
    Sight("console-today-new", "Pat", "/m/{new}"),
    Sight("console-payments-new", "Pat", "/m/{new}/payments"),
    Sight("console-payments-nothing-found", "Mei", "/m/{tea}/payments?q=umbrella"),
    Sight("console-pool-new", "Pat", "/m/{new}/pool"),
    Sight("console-codes-new", "Pat", "/m/{new}/codes"),
    Sight("console-deliveries-new", "Pat", "/m/{new}/deliveries"),
    Sight("console-keys-new", "Pat", "/m/{new}/keys"),
    Sight("console-problem", "Mei", "/m/nowhere", status=404),
    Sight("desk-merchants-nothing-found", "Olga", "/desk/merchants?q=umbrella"),
    Sight("desk-ledger-walk", "Olga", "/desk/ledger?walk={payment}"),
    Sight("desk-ledger-owner", "Olga", "/desk/ledger?owner={tea}"),
    Sight("desk-deliveries-dead", "Olga", "/desk/deliveries?status=dead"),
    Sight("console-menu", "Mei", "/m/{tea}", press=(".drawer > summary",)),
    Sight("console-keys-revoke", "Mei", "/m/{tea}/keys", press=("[popovertarget^=revoke]",)),
    Sight(
        "desk-merchant-made",
        "Olga",
        "/desk/merchants/new",
        typed={"#name": "Corner Grocery", "[name=owner_sign_in_name]": "grocer-{number}"},
        press=("main form button",),
    ),
)


def every_sight() -> Iterator[Sight]:
    """Each page once, and those that look otherwise at other times."""
    for door in DOORS:
        if not door.is_page:
            continue
        plain = re.sub(r"/\{(\w+):\w+\}$", "", door.path).replace("{mchid:str}", "{tea}")
        for which, thing, status in _ONE.get(door.path, (("", "", 200),)):
            address = f"{plain}/{thing}" if thing else door.path.replace("{mchid:str}", "{tea}")
            if "{" in address and ":" in address:
                raise LookupError(f"{door}: say in sights.py which one is looked at")
            yield Sight("-".join(filter(None, (_name(door), which))), _visitor(door), address, status)
    yield from _ALSO


def _name(door: Door) -> str:
    frame = "phone" if door.site == "phone" else "desk" if door.path.startswith("/desk") else "console"
    if door.path in _NAMES:
        return f"{frame}-{_NAMES[door.path]}"
    path = door.path.removeprefix("/m/{mchid:str}").removeprefix("/desk")
    words = [part for part in re.sub(r"\{\w+:\w+\}", "one", path).split("/") if part]
    return "-".join([frame, *(words or ["overview"])])


def _visitor(door: Door) -> str:
    if door.need is Needs.NOBODY:
        return "nobody" if door.site == "phone" else "a stranger"
    return "Mei" if isinstance(door.need, Capability) else _BY_NEED[door.need]


@dataclass
class Guide:
    """Leads visitors through the story: `client = await guide.client("Mei")`, `await guide.address(sight)`."""

    story: Story
    _clients: dict[str, Client] = field(default_factory=dict)

    async def client(self, visitor: str) -> Client:
        """The visitor's browser, as far as HTTP goes; signed in where they are somebody."""
        if visitor not in self._clients:
            self._clients[visitor] = await self._come(visitor)
        return self._clients[visitor]

    async def _come(self, visitor: str) -> Client:
        visitors, story = self.story.visitors, self.story
        client: Client
        if visitor in ("nobody", "a stranger"):
            client = visitors.stranger("phone" if visitor == "nobody" else "staff")
        elif visitor in story.staff:
            client = await visitors.member(story.staff[visitor], is_proven=True)
        else:
            person = story.people[visitor.removesuffix(" again")]
            client = await visitors.person(person, is_proven=not visitor.endswith(" again"))
        return client

    async def address(self, sight: Sight) -> str:
        """Where it is."""
        known: dict[str, Any] = self.story.places | {
            name: shop.merchant.number for name, shop in self.story.shops.items()
        }
        if "{scan}" in sight.address:
            known["scan"] = await self._scan()
        return re.sub(r"\{([\w ]+)\}", lambda found: str(known[found[1]]), sight.address)

    async def _scan(self) -> str:
        """Somebody's new device asks to be let in; it asks for two minutes only."""
        async with self.story.house.db.transaction() as tx:
            begun = await identity.begin_scan(
                tx, device="Firefox, Windows", address="192.0.2.14", wall_now=clock.wall_now()
            )
        return to_text("scn", begun.id)
