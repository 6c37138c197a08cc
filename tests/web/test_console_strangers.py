"""What two shops have of a person whom both know: a name, and nothing else by which they could tell that it is one."""

import base64
import re
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from dewpond import openplatform
from dewpond.kit.ids import to_text
from dewpond.merchants import Capability
from dewpond.web import console
from dewpond.web.needs import NEEDS
from web.listeners import listening
from web.tills import Till

#: What can tell people apart, however it is written: from here on shorter pieces are words and figures.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{6,}")

#: What is drawn: bars and squares of codes may be alike anywhere.
_DRAWN = re.compile(r' d=\\?"[^"]*"')

_SORTS = ("last_seen", "first_seen", "spent", "purchases")


@dataclass(frozen=True, eq=False)
class Shop:
    """A shop with its owner's browser, and everything the browser was ever told."""

    till: Till
    owner: Any

    async def read(self, people: list[Any], sum_: str) -> str:
        """Sell to everybody, give a part back, walk through the whole console, listen to every stream."""
        told: list[str] = []
        path = self.till.path
        async with (
            listening(self.owner, f"{path}/live") as day,
            listening(self.owner, f"{path}/pool/live") as pool,
        ):
            paid = [await self.till.sell(person, sum_) for person in people]
            await self.till.refund(paid[0], "0.01")
            await self.till.settle()
            await day.until(lambda one: one.payments == {each.id for each in paid})
            everybody = {await self.till.open_id(person) for person in people}
            await pool.until(lambda one: everybody <= {each for message in one.messages for each in message.people})
            told += [day.text, pool.text]
        for address in [*(await self.addresses(paid)), *(f"{path}/pool?sort={sort}" for sort in _SORTS)]:
            told += await self.follow(address)
        return "\n".join(told)

    async def addresses(self, paid: list[Any]) -> list[str]:
        """Every page there is, generated from the routes: none is forgotten."""
        code = await self.till.put_up("Counter")
        async with self.till.house.db.transaction() as tx:
            deliveries = await openplatform.list_deliveries(tx, merchant_id=self.till.shop.merchant.id)
        pool = (await self.owner.get(f"{self.till.path}/pool")).text
        known = {
            "mchid": [self.till.shop.merchant.number],
            "payment_id": [one.text_id for one in paid],
            "open_id": re.findall(r'/pool/([^/"?]+)"', pool)[:3],
            "code": [code.code],
            "serial": [self.till.shop.certificate.serial],
            "delivery_id": [openplatform.to_text(one.id) for one in deliveries],
        }
        found = []
        for path in PAGES:
            template = re.sub(r":\w+\}", "}", path)
            names = re.findall(r"\{(\w+)\}", template)
            addresses = [
                template.format(**dict(zip(names, values, strict=True)))
                for values in product(*(known[name] for name in names))
            ]
            assert addresses, f"nothing is there to look at by {path}"
            found += addresses
        return found

    async def follow(self, address: str) -> list[str]:
        """A page, and those that go on from it."""
        told, seen = [], set[str]()
        while address:
            assert address not in seen, "it goes on in a circle"
            seen.add(address)
            answer = await self.owner.get(address)
            if answer.status_code == 303:  # an address of forms leads back to its page, which is read anyway
                return [*told, answer.headers["location"]]
            assert answer.status_code == 200, address
            told += [address, str(answer.headers), answer.text]
            more = re.search(r'href="([^"]*[?&;]before=[^"]*)"', answer.text)
            address = more[1].replace("&amp;", "&") if more else ""
        return told


#: Every page of a console that is looked at; streams are listened to.
PAGES = [
    path
    for route in console.ROUTES
    for path in route.paths
    if "GET" in route.http_methods and isinstance(route.opt[NEEDS], Capability) and not path.endswith("/live")
]


@pytest.fixture
def new_shop(house: Any, new_merchant: Any, visitors: Any, new_member: Any) -> Any:
    async def make(name: str) -> Shop:
        till = Till(house, await new_merchant(name))
        return Shop(till, await visitors.member(await new_member(shop=till.shop)))

    return make


def ways_to_write(person: Any) -> dict[str, str]:
    """A person's own ids, in each way they could be written."""
    number = person.id
    return {
        "text": person.text_id,
        "bare text": to_text("per", number)[4:],
        "uuid": str(number),
        "hex": number.hex,
        "base64": base64.urlsafe_b64encode(number.bytes).decode().rstrip("="),
        "number": str(number.int),
        "told at a desk": person.number,
        "told at a desk, in groups": f"{person.number[:3]} {person.number[3:6]} {person.number[6:]}",
    }


async def test_two_shops_cannot_tell_whom_they_share(new_shop: Any, new_person: Any) -> None:
    tea, bakery, books = [await new_shop(name) for name in ("Tea Shop", "Bakery", "Bookshop")]
    # The third shop knows other people by the same names: what is alike there as well tells nothing about anybody.
    payers, others = [[await new_person(f"Payer {each}", "900.00") for each in range(2)] for _ in range(2)]
    # More than a page holds, all of them shared: whoever a page ends with, the address of the next one names them.
    crowd, strangers = [[await new_person(f"Person {each:02d}", pin=None) for each in range(55)] for _ in range(2)]
    read = {}
    for shop, buying, looking, sum_ in (
        (tea, payers, crowd, "11.00"),
        (bakery, payers, crowd, "12.00"),
        (books, others, strangers, "13.00"),
    ):
        await shop.till.fill(looking)
        read[shop] = await shop.read(buying, sum_)

    for shop, other in ((tea, bakery), (bakery, tea)):
        text = read[shop]
        assert "per_" not in text
        for person in [*payers, *crowd]:
            for way, written in ways_to_write(person).items():
                assert written.lower() not in text.lower(), f"{person.name}, as {way}"
            assert await other.till.open_id(person) not in text
        for person in payers:
            assert person.name in text
            assert await shop.till.open_id(person) in text

    tokens = {shop: set(_TOKEN.findall(_DRAWN.sub("", text))) for shop, text in read.items()}
    assert (tokens[tea] & tokens[bakery]) - tokens[books] == set()


async def test_a_payment_leads_to_its_payer_once_their_drop_has_fallen(new_shop: Any, new_person: Any) -> None:
    shop, alice = await new_shop("Tea Shop"), await new_person("Alice", "90.00")
    paid = await shop.till.sell(alice, at=(await shop.till.now()).world - timedelta(minutes=1))
    page = f"{shop.till.path}/payments/{paid.text_id}"
    assert "in the pool" not in (await shop.owner.get(page)).text
    await shop.till.settle()
    address = f"{shop.till.path}/pool/{await shop.till.open_id(alice)}"
    assert f'href="{address}"' in (await shop.owner.get(page)).text
    assert (await shop.owner.get(address)).status_code == 200
