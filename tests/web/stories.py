"""A small story, told into a world: two weeks of a tea shop, its neighbours, and everybody who works there.

`make gallery` takes its pictures of it and the tests that walk every page walk through it, so that no page is judged
empty. It ends on an afternoon: the world's clock stands at twenty to five in Shanghai, whatever the time is here.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from dewpond import identity, merchants, openplatform, pay
from dewpond.identity import How, Person, Realm
from dewpond.kit import clock, crypto, worlds
from dewpond.kit.clock import SHANGHAI, Now
from dewpond.kit.ids import to_text
from dewpond.kit.money import CNY, Money
from dewpond.merchants import App, KeyMode, Merchant, Role, StaffMember
from dewpond.pay import Confirmation, NewRequest, Opened, Opening, Payment, PinProof, Refund, RefundRequest
from dewpond.worker import advance, drain
from identity.authenticator import Authenticator

PIN = "123456"

#: Who buys, and what they have; the first two may be anybody's in a sandbox.
PEOPLE: Final = {
    "Alice": "420.00",
    "王小明": "320.50",
    "Li Na": "176.00",
    "Bob": "245.20",
    "Zoë Lindqvist": "510.00",
    "陈静": "288.88",
    "Maximilian Featherstonehaugh": "264.00",
    "Omar": "220.00",
    "Wei": "60.00",
}
#: They come for the first time today.
NEW: Final = ("Wei",)

MENU: Final = (
    ("Jasmine tea, large", "18.00"),
    ("Longjing", "26.00"),
    ("桂花乌龙", "22.00"),
    ("Two pineapple cakes", "9.90"),
    ("Oolong milk tea, half sugar", "16.50"),
    ("凤凰单丛茶礼盒", "168.00"),
    ("Ginger tea", "12.00"),
)
#: How many cups were sold on each of the last days, yesterday at the end.
CUPS: Final = (2, 3, 1, 4, 5, 2, 3, 3, 2, 5, 6, 3, 4)
#: When cups are sold.
HOURS: Final = (9, 10, 12, 14, 15, 17)
#: Nobody listens there.
DEAF: Final = "http://127.0.0.1:9/notify"


@dataclass(frozen=True)
class Shop:
    """A merchant with the app that its payments name."""

    merchant: Merchant
    app: App

    @property
    def path(self) -> str:
        """Where its console is."""
        return f"/m/{self.merchant.number}"


@dataclass
class Story:
    """Who and what there is when it has been told; `people` and `staff` by their names."""

    house: Any
    visitors: Any
    people: dict[str, Person] = field(default_factory=dict)
    shops: dict[str, Shop] = field(default_factory=dict)
    staff: dict[str, StaffMember] = field(default_factory=dict)
    #: Addresses of pages that are about one thing, by a name for it.
    places: dict[str, str] = field(default_factory=dict)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    # --- the cast ---

    async def cast(self) -> None:
        """People with money, shops with staff, operators."""
        for number, (name, balance) in enumerate(PEOPLE.items()):
            self.people[name] = await self._person(name, balance, is_demo=number < 2)
        self.people["Ruth"] = await self._person("Ruth", "0")
        await self._shop("tea", "Lantern Tea 灯笼茶铺", KeyMode.CERTIFICATE)
        await self._shop("coffee", "山泉咖啡", KeyMode.PUBLIC_KEY)
        await self._shop("books", "The Old Bookshop by the Canal Bridge", KeyMode.CERTIFICATE)
        await self._shop("new", "Blue Door", KeyMode.PUBLIC_KEY)
        for name, shop, role in (
            ("Mei", "tea", Role.OWNER),
            ("Jun Watanabe", "tea", Role.CASHIER),
            ("苏珊", "tea", Role.ANALYST),
            ("Peter", "tea", Role.CASHIER),
            ("Pat", "new", Role.OWNER),
        ):
            await self._hire(name, self.shops[shop], role)
        await self._hire("Olga")
        await self._hire("Anton")
        async with self.house.db.transaction() as tx:
            wall = clock.wall_now()
            tea, coffee = self.shops["tea"].merchant, self.shops["coffee"].merchant
            await merchants.give_role(tx, coffee.id, self.staff["Mei"].id, Role.ANALYST, wall_now=wall)
            await merchants.end_role(tx, tea.id, self.staff["Peter"].id, wall_now=wall)
            token = await merchants.invite(tx, self.staff["Jun Watanabe"].id, wall_now=wall)
        self.places["invitation"] = token

    async def _person(self, name: str, balance: str, *, is_demo: bool = False) -> Person:
        async with self.house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            person = await identity.create_person(tx, name, wall_now=now.wall, is_demo=is_demo)
            if amount := Money.parse(balance, CNY).minor:
                await identity.set_pin(tx, person.id, PIN, secrets=self.house.secrets, wall_now=now.wall)
                # What they will have spent, and what they are to have at the end.
                early = Now(world=now.world - timedelta(days=14), wall=now.wall)
                await pay.top_up(tx, person.id, Money(amount, CNY), now=early)
        return person

    async def _shop(self, key: str, name: str, mode: KeyMode) -> None:
        async with self.house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            made = await merchants.onboard_merchant(
                tx, name, secrets=self.house.secrets, wall_now=now.wall, key_mode=mode
            )
            csr = crypto.certificate_signing_request(crypto.new_private_key_pem(), made.merchant.number)
            await merchants.issue_certificate(tx, made.merchant, csr, secrets=self.house.secrets, wall_now=now.wall)
            await pay.open_merchant_accounts(tx, made.merchant.id, now=now)
        self.shops[key] = Shop(made.merchant, made.app)

    async def _hire(self, name: str, shop: Shop | None = None, role: Role = Role.OWNER) -> None:
        async with self.house.db.transaction() as tx:
            wall = clock.wall_now()
            sign_in_name = f"staff-{len(self.staff)}" if not name.isascii() else name.partition(" ")[0].lower()
            member = await merchants.create_staff_member(
                tx, sign_in_name, name, is_operator=shop is None, wall_now=wall
            )
            if shop is not None:
                await merchants.give_role(tx, shop.merchant.id, member.id, role, wall_now=wall)
        self.staff[name] = member

    # --- what they do ---

    async def ask(
        self, shop: str, sum_: str, what: str, *, at: datetime | None = None, notify_url: str = "", minutes: float = 30
    ) -> Opened:
        """A shop shows a code."""
        now = await self._now(at)
        asking = self.shops[shop]
        opened: Opened = await self.house.openings.submit(
            Opening(
                merchant_id=asking.merchant.id,
                app_id=asking.app.id,
                merchant_reference=f"{shop}-{now.world:%m%d}-{next(self._numbers):04d}",
                description=what,
                amount=Money.parse(sum_, CNY),
                fee_rate_bp=60,
                expires_at=now.world + timedelta(minutes=minutes),
                now=now,
                request=NewRequest(trade_type="NATIVE", request_hash=b"story", notify_url=notify_url),
            )
        )
        return opened

    async def buy(
        self, who: str, shop: str, sum_: str, what: str, *, at: datetime | None = None, notify_url: str = ""
    ) -> Payment:
        """Somebody scans it and pays."""
        opened = await self.ask(shop, sum_, what, at=at, notify_url=notify_url)
        now = await self._now(at + timedelta(seconds=21) if at else None)
        paid: Payment = await self.house.confirmations.submit(
            Confirmation(
                merchant_id=self.shops[shop].merchant.id,
                payment_id=opened.payment_id,
                payer_id=self.people[who].id,
                proof=PinProof(PIN),
                now=now,
            )
        )
        return paid

    async def give_back(self, paid: Payment, sum_: str, reason: str, *, at: datetime | None = None) -> Refund:
        """The shop refunds a part, and it is back in the wallet."""
        now = await self._now(at)
        async with self.house.db.transaction() as tx:
            refund = await pay.request_refund(
                tx,
                RefundRequest(
                    merchant_id=paid.merchant_id,
                    payment_id=paid.id,
                    merchant_reference=f"back-{next(self._numbers):04d}",
                    amount=Money.parse(sum_, CNY),
                    total=paid.amount,
                    request_hash=b"story",
                    reason=reason,
                    notify_url=DEAF,
                ),
                now=now,
            )
        async with self.house.db.transaction() as tx:
            await pay.settle_refund(tx, refund.merchant_id, refund.id, now=now)
        return refund

    async def _now(self, at: datetime | None = None) -> Now:
        async with self.house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
        return Now(world=at, wall=now.wall) if at else now

    # --- the fortnight, and today ---

    async def fortnight(self, noon: datetime) -> None:
        """What was sold before the day of `noon`; two callbacks of yesterday are given up on."""
        names, dishes = itertools.cycle(name for name in PEOPLE if name not in NEW), itertools.cycle(MENU)
        for day, cups in enumerate(CUPS):
            morning = noon.replace(hour=0, minute=7) - timedelta(days=len(CUPS) - day)
            for hour in HOURS[:cups]:
                who, (what, sum_) = next(names), next(dishes)
                if Money.parse(sum_, CNY).minor > 100_00 and who != "Zoë Lindqvist":
                    what, sum_ = MENU[0]
                await self.buy(who, "tea", sum_, what, at=morning + timedelta(hours=hour, minutes=3 * day))
        early = noon - timedelta(days=6)
        await self.buy("Alice", "coffee", "32.00", "Flat white × 2", at=early)
        book = await self.buy("Alice", "books", "45.00", "A Dictionary of Birds, second hand", at=early)
        await self.give_back(book, "45.00", "A page was missing", at=early + timedelta(days=1))
        yesterday = noon - timedelta(days=1, hours=2)
        await self._turn_to(yesterday)
        await self.buy("Bob", "tea", "12.00", "Ginger tea", notify_url=DEAF)
        await self.buy("Li Na", "tea", "18.00", "Jasmine tea, large", notify_url=DEAF)
        await drain(self.house)
        await self._turn_to(noon)

    async def today(self, noon: datetime, notify_url: str) -> None:
        """What has happened since this morning, the last of it a moment ago."""
        for number, (who, hour) in enumerate((("Omar", 9), ("王小明", 10), ("Alice", 11), ("Wei", 13), ("Bob", 15))):
            what, sum_ = MENU[number % 5]
            await self.buy(who, "tea", sum_, what, at=noon.replace(hour=hour, minute=12 + 7 * number))
        await self.buy("Zoë Lindqvist", "tea", "168.00", "凤凰单丛茶礼盒", notify_url=notify_url)
        paid = await self.buy("Alice", "tea", "36.00", "Jasmine tea, large × 2", notify_url=notify_url)
        refund = await self.give_back(paid, "6.50", "One cup was spilled")
        await drain(self.house)
        failed = await self.buy("陈静", "tea", "22.00", "桂花乌龙", notify_url=DEAF)
        await drain(self.house)
        self.places |= {
            "payment": paid.text_id,
            "unheard payment": failed.text_id,
            "refund": refund.merchant_reference,
            "person": self.people["Alice"].text_id,
        }
        tea = self.shops["tea"]
        async with self.house.db.transaction() as tx:
            known = await identity.open_ids(tx, [(tea.app.id, self.people["Alice"].id)], wall_now=clock.wall_now())
            self.places["contact"] = known[tea.app.id, self.people["Alice"].id]
            told = await openplatform.list_deliveries(tx, merchant_id=paid.merchant_id)
        for delivery in told:
            self.places.setdefault(f"{delivery.status} delivery", openplatform.to_text(delivery.id))
        await self.ask("tea", "26.00", "Longjing")

    async def belongings(self) -> None:
        """What people and shops have besides: passkeys, devices, limits, printed codes, codes to pay, proposals."""
        alice, wall = self.people["Alice"], clock.wall_now()
        async with self.house.db.transaction() as tx:
            for device in ("Safari, iPhone", "Chrome, Windows"):
                await identity.open_session(
                    tx, Realm.PERSON, alice.id, device=device, address="192.0.2.7", how=How.PASSKEY, wall_now=wall
                )
            now = await worlds.read_clocks(tx)
            await pay.set_limits(
                tx, pay.Limits(person_id=alice.id, per_day_minor=500_00, without_pin_minor=5_00), now=now
            )
            counter = await pay.create_standing_code(
                tx, self.shops["tea"].merchant.id, self.shops["tea"].app.id, "Counter 柜台", now=now
            )
            gone = await pay.create_standing_code(
                tx, self.shops["tea"].merchant.id, self.shops["tea"].app.id, "Spring fair", now=now
            )
            await pay.end_standing_code(tx, gone.merchant_id, gone.code, now=now)
            for who, minor, reason in (
                ("Bob", 2_000_00, "Cash at the desk"),
                ("陈静", 1_200_00, "Prize of the raffle"),
            ):
                await pay.propose_top_up(
                    tx,
                    self.people[who].id,
                    Money(minor, CNY),
                    by_staff_id=self.staff["Anton" if who == "Bob" else "Olga"].id,
                    alone_minor=1_000_00,
                    reason=reason,
                    now=now,
                )
        self.places |= {"standing code": counter.code, "ended code": gone.code}
        for name, sum_, what in (
            ("code", "18.00", "Jasmine tea, large"),
            ("small code", "4.50", "A biscuit"),
            ("dear code", "1288.00", "Yixing teapot, hand made"),
        ):
            self.places[name] = (await self.ask("tea", sum_, what, minutes=15)).code
        late = await self.ask("tea", "9.90", "Two pineapple cakes", at=now.world - timedelta(hours=1), minutes=5)
        self.places["late code"] = late.code
        await self._passkey()

    async def _passkey(self) -> None:
        client = await self.visitors.person(self.people["Alice"], headers={"accept": "application/json"})
        asked = (await client.send_form("/security/passkeys/challenge")).json()
        response = Authenticator(client.origin).create(json.dumps(asked["options"]))
        await client.send_form("/security/passkeys", challenge_id=asked["challenge_id"], response=response)
        async with self.house.db.transaction() as tx:
            (passkey,) = await identity.list_passkeys(tx, Realm.PERSON, self.people["Alice"].id)
        self.places["passkey"] = to_text("pky", passkey.id)

    async def _turn_to(self, moment: datetime) -> None:
        """Let everything happen that is due until then."""
        await advance(self.house, moment)


@asynccontextmanager
async def _kind_receiver() -> AsyncIterator[str]:
    """A shop's server that says yes to whatever it is told."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(length)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/notify"


async def tell(house: Any, visitors: Any) -> Story:
    """Tell it into a sandbox in which nothing has happened yet."""
    story = Story(house, visitors)
    async with house.db.transaction() as tx:
        world_now = (await worlds.read_clocks(tx)).world.astimezone(SHANGHAI)
    afternoon = world_now.replace(hour=16, minute=40, second=0, microsecond=0)
    while afternoon - timedelta(days=1, hours=3) < world_now:  # the clock must stand at yesterday first
        afternoon += timedelta(days=1)
    await story._turn_to(afternoon - timedelta(days=1, hours=3))
    await story.cast()
    await story.fortnight(afternoon)
    async with _kind_receiver() as receiver:
        await story.today(afternoon, receiver)
    await story.belongings()
    return story
