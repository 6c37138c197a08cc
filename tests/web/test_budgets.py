"""Budgets on the web: what strangers may do how often, from where they come, over two servers on one database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest

from dewpond import identity, web
from dewpond.identity import Realm
from dewpond.kit import clock
from dewpond.kit.budgets import Budget
from dewpond.kit.db import Database
from dewpond.settings import SettingInvalid, read_settings
from dewpond.web import budgets
from dewpond.web.visitors import block_of
from dewpond.wiring import open_house
from dewpond.worker.steps import sweep
from web.conftest import Client, serving
from web.counters import Counter as Till
from web.phones import Phone

CODE = "Tea-Pot-42"
HERE = "203.0.113.9"
JSON = {"accept": "application/json"}


@dataclass
class Doors:
    """Two servers of people's pages and one of staff's, behind a proxy that says who asks."""

    phones: tuple[str, str]
    staff: str
    database: Database

    @asynccontextmanager
    async def visitor(self, door: str = "", forwarded: str = HERE) -> AsyncIterator[Client]:
        """Somebody without a cookie, as the proxy describes them."""
        async with Client(door or self.phones[0], headers={"x-forwarded-for": forwarded}) as client:
            yield client

    async def guess(self, code: str, forwarded: str = HERE, door: str = "", person: Any = None) -> Any:
        """One try of the access code."""
        told = {"member" if door == self.staff else "person": person.text_id if person else "per_0"}
        async with self.visitor(door, forwarded) as client:
            return await client.send_form("/sign-in/one-tap", access_code=code, **told)

    async def wait(self, time: timedelta) -> None:
        """Let so much time pass for every budget."""
        async with self.database.transaction() as tx:
            await tx.connection.execute("update kit.budgets set whole_at = whole_at - $1::interval", time)

    async def rows(self, table: str) -> int:
        async with self.database.transaction() as tx:
            return int(await tx.connection.fetchval(f"select count(*) from {table}"))  # noqa: S608 - a name of ours


@asynccontextmanager
async def serving_twice(house: Any, world: Any, dsn: str, **settings: Any) -> AsyncIterator[Doors]:
    told = replace(house.settings, access_code=CODE, **settings)
    first = replace(house, settings=told)
    async with (
        open_house(told, dsn=dsn, name="tests, elsewhere", pool_size=10, listeners=[]) as second,
        serving(first, world, web.create_phone_site, "public_url") as one,
        serving(second, world, web.create_phone_site, "public_url") as two,
        serving(second, world, web.create_staff_site, "staff_url") as staff,
    ):
        yield Doors(phones=(one, two), staff=staff, database=house.db)


@pytest.fixture(scope="module")
async def behind_a_proxy(house: Any, world: Any, dsn: str) -> AsyncIterator[Doors]:
    async with serving_twice(house, world, dsn, trusted_proxies=(ip_network("127.0.0.0/8"),)) as doors:
        yield doors


@pytest.fixture
async def doors(behind_a_proxy: Doors) -> Doors:
    """With every budget whole."""
    await behind_a_proxy.wait(timedelta(days=1))
    return behind_a_proxy


def smaller(monkeypatch: pytest.MonkeyPatch, **most: int) -> None:
    """Let these budgets be so small, with the same time."""
    for name, number in most.items():
        held: Budget = getattr(budgets, name)
        monkeypatch.setattr(budgets, name, Budget(held.name, number, held.window))


# --- the access code --------------------------------------------------------------------------------------------------


async def test_two_hundred_guesses_at_once_over_two_servers_are_five_tries(doors: Doors, new_person: Any) -> None:
    person = await new_person("Alice")
    answers = await asyncio.gather(*(doors.guess(f"wrong-{n}", door=doors.phones[n % 2]) for n in range(200)))
    assert Counter(answer.status_code for answer in answers) == {403: 5, 429: 195}
    for answer in answers:
        if answer.status_code == 429:
            seconds = answer.headers["retry-after"]
            assert 1 <= int(seconds) <= 190
            assert f"Seconds until you can try again: {seconds}." in answer.text
            assert 'id="access_code-error"' in answer.text
    late = await doors.guess(CODE, person=person)
    assert (late.status_code, "set-cookie" in late.headers) == (429, False), "nobody compares any more"
    assert (await doors.guess(CODE, "203.0.113.10", person=person)).status_code == 303, "others may"
    await doors.wait(timedelta(minutes=3))
    assert (await doors.guess(CODE, person=person)).status_code == 303


async def test_guesses_from_many_addresses_are_counted_together(
    doors: Doors, new_person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller(monkeypatch, _ALL_CODE_TRIES=20)
    person = await new_person("Alice")
    tries = (doors.guess(f"wrong-{n}", f"198.51.100.{n}", doors.phones[n % 2]) for n in range(100))
    assert Counter(answer.status_code for answer in await asyncio.gather(*tries)) == {403: 20, 429: 80}
    assert (await doors.guess(CODE, person=person)).status_code == 429


async def test_the_staffs_door_and_a_newcomers_share_the_tries(doors: Doors) -> None:
    async def join(code: str) -> int:
        async with doors.visitor() as client:
            told = {"name": "Bob", "pin": "246813", "again": "246813", "access_code": code}
            return int((await client.send_form("/join/with-pin", **told)).status_code)

    people = await doors.rows("identity.people")
    told = [(await doors.guess("wrong", door=doors.staff)).status_code for _ in range(2)]
    told += [await join("wrong") for _ in range(2)]
    told += [(await doors.guess("wrong", door=door)).status_code for door in doors.phones]
    told += [(await doors.guess("wrong", door=doors.staff)).status_code, await join(CODE)]
    assert told == [403] * 5 + [429] * 3
    assert await doors.rows("identity.people") == people


async def test_the_right_code_and_no_code_are_no_guesses(doors: Doors, new_person: Any) -> None:
    person = await new_person("Alice")
    for _ in range(12):
        assert (await doors.guess(CODE, person=person)).status_code == 303
        assert (await doors.guess(" ", person=person)).status_code == 403
    assert [(await doors.guess("wrong")).status_code for _ in range(6)] == [403] * 5 + [429]


async def test_who_sits_before_the_machine_guesses_no_oftener(doors: Doors) -> None:
    told = [(await doors.guess("wrong", "127.0.0.1")).status_code for _ in range(6)]
    assert told == [403] * 5 + [429]


# --- what is left behind ----------------------------------------------------------------------------------------------


async def ask_for_scan(client: Client) -> Any:
    return await client.send_form("/sign-in/scan", next="/")


async def ask_to_sign_in(client: Client) -> Any:
    return await client.send_form("/sign-in/passkey/challenge", headers=JSON, next="/")


async def ask_to_join(client: Client) -> Any:
    return await client.send_form("/join/challenge", headers=JSON, name="Alice", next="/")


async def join_with_pin(client: Client) -> Any:
    told = {"name": "Bob", "pin": "246813", "again": "246813", "access_code": CODE}
    return await client.send_form("/join/with-pin", **told)


async def join(client: Client) -> Any:
    return await Phone(client).join("Alice")


Ask = Callable[[Client], Awaitable[Any]]


@pytest.mark.parametrize(
    ("ask", "name", "most", "table"),
    [
        (ask_for_scan, "SCANS", 50, "identity.scans"),
        (ask_to_sign_in, "CHALLENGES", 100, "identity.challenges"),
        (ask_to_join, "CHALLENGES", 100, "identity.challenges"),
        (join_with_pin, "ACCOUNTS", 60, "identity.people"),
        (join, "ACCOUNTS", 60, "identity.people"),
    ],
)
async def test_strangers_leave_so_many_rows_and_no_more(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, ask: Ask, name: str, most: int, table: str
) -> None:
    assert getattr(budgets, name).most == most
    smaller(monkeypatch, **{name: 4})

    async def once(n: int) -> Any:
        async with doors.visitor(doors.phones[n % 2]) as client:
            return await ask(client)

    before = await doors.rows(table)
    answers = await asyncio.gather(*(once(n) for n in range(12)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert (len(refused), await doors.rows(table) - before) == (8, 4)
    for answer in refused:
        assert int(answer.headers["retry-after"]) >= 1
        said = answer.json()["title"] if "json" in answer.headers["content-type"] else answer.text
        assert f"Seconds until you can try again: {answer.headers['retry-after']}." in said
    await doors.wait(timedelta(hours=1))
    assert (await once(0)).status_code in {200, 303}


async def test_staff_and_people_ask_for_challenges_from_one_budget(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller(monkeypatch, CHALLENGES=3)
    told = []
    for door in (doors.staff, doors.phones[0], doors.staff, doors.staff, doors.phones[1]):
        async with doors.visitor(door) as client:
            told.append((await ask_to_sign_in(client)).status_code)
    assert told == [200] * 3 + [429] * 2


async def test_all_the_world_makes_only_so_many_accounts(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller(monkeypatch, ALL_ACCOUNTS=3)
    before, told = await doors.rows("identity.people"), []
    for n in range(6):
        async with doors.visitor(forwarded=f"198.51.100.{n}") as client:
            told.append((await join(client)).status_code)
    assert told == [303] * 3 + [429] * 3
    assert await doors.rows("identity.people") - before == 3


async def test_a_person_opens_so_many_payments_from_printed_codes(
    doors: Doors, house: Any, new_person: Any, new_merchant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller(monkeypatch, SCANNED=3, SHOWN=5)
    till = Till(house, await new_merchant("Tea Shop"))
    poster, other = await till.put_up("Counter 1"), await till.put_up("Counter 2")
    people = [await new_person(f"Person {n}", "10.00") for n in range(3)]

    async def scan(person: Any, code: str, amount: str = "1.00") -> Any:
        async with doors.visitor() as client:
            await sign_in(doors.database, client, person)
            return await client.send_form(f"/m/{code}/payment", amount=amount, note="")

    before = await doors.rows("pay.payments")
    told = [(await scan(people[0], poster.code)).status_code for _ in range(4)]
    assert told == [303] * 3 + [429], "one person"
    assert (await scan(people[0], other.code)).status_code == 429, "one person, at any counter"
    told = [(await scan(people[1], poster.code, "0")).status_code for _ in range(4)]
    assert told == [422] * 4, "a slip costs nothing"
    told = [(await scan(people[n], poster.code)).status_code for n in (1, 1, 2)]
    assert told == [303, 303, 429], "one code"
    refused = await scan(people[2], poster.code)
    assert 1 <= int(refused.headers["retry-after"]) <= 121
    assert "Seconds until you can try again" in refused.text
    assert (await scan(people[2], other.code)).status_code == 303
    assert await doors.rows("pay.payments") - before == 6


async def test_play_money_comes_so_often(
    doors: Doors, house: Any, new_person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller(monkeypatch, TOP_UPS=2)
    alice, told = await new_person("Alice"), []
    for n in range(4):
        async with doors.visitor(forwarded=f"198.51.100.{n}") as client:
            await sign_in(doors.database, client, alice)
            answer = await client.send_form("/top-up", amount="1.00", next="/")
            told.append((answer.status_code, "retry-after" in answer.headers))
    assert told == [(303, False)] * 2 + [(429, True)] * 2


async def sign_in(database: Database, client: Client, person: Any) -> None:
    async with database.transaction() as tx:
        _, token = await identity.open_session(
            tx, Realm.PERSON, person.id, device="", address="", how=identity.How.PASSKEY, wall_now=clock.wall_now()
        )
    client.cookies.set("dewpond-person", token)


# --- from where -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "forwarded", "shares"),
    [
        ("the same address", HERE, True),
        ("another address", "203.0.113.10", False),
        ("told by a stranger before the proxy told the truth", f"198.51.100.1, {HERE}", True),
        ("that stranger says to be the proxy", f"127.0.0.1, {HERE}", True),
        ("that stranger says to be of this machine", f"::1,{HERE}", True),
        ("through two proxies of ours", f"198.51.100.1, {HERE}, 127.0.0.7", True),
        ("with its port", f"{HERE}:40123", True),
        ("as IPv6 writes it", f"::ffff:{HERE}", True),
        ("nobody at all", "unknown", False),
    ],
)
async def test_the_proxy_is_believed_and_nobody_before_it(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, _case: str, forwarded: str, shares: bool
) -> None:
    smaller(monkeypatch, SCANS=1)
    async with doors.visitor() as client, doors.visitor(forwarded=forwarded) as other:
        assert (await ask_for_scan(client)).status_code == 303
        assert (await ask_for_scan(other)).status_code == (429 if shares else 303)


async def test_without_a_trusted_proxy_nobody_is_believed(
    house: Any, world: Any, dsn: str, database: Database, new_person: Any
) -> None:
    """Not even on this machine, whatever uvicorn's own variables say."""
    person = await new_person("Alice")
    async with serving_twice(house, world, dsn) as doors:
        await doors.wait(timedelta(days=1))
        told = [(await doors.guess("wrong", f"198.51.100.{n}")).status_code for n in range(7)]
        assert told == [403] * 5 + [429] * 2
        await doors.wait(timedelta(days=1))
        assert (await doors.guess(CODE, "198.51.100.1", person=person)).status_code == 303
    async with database.transaction() as tx:
        [session] = await identity.list_sessions(tx, Realm.PERSON, person.id, wall_now=clock.wall_now())
    assert session.address == "127.0.0.1"


async def test_what_a_device_list_shows_is_what_the_proxy_says(doors: Doors, new_person: Any) -> None:
    person = await new_person("Alice")
    assert (await doors.guess(CODE, f"198.51.100.1, {HERE}", person=person)).status_code == 303
    async with doors.database.transaction() as tx:
        [session] = await identity.list_sessions(tx, Realm.PERSON, person.id, wall_now=clock.wall_now())
    assert session.address == HERE


@pytest.mark.parametrize(
    ("_case", "address", "block"),
    [
        ("an IPv4 address", "203.0.113.9", "203.0.113.9"),
        ("the same, come to a door of both kinds", "::ffff:203.0.113.9", "203.0.113.9"),
        ("an IPv6 address", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("its neighbour in the same house", "2001:DB8:1:2::1", "2001:db8:1:2::/64"),
        ("the next house", "2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("one on this link", "fe80::1%eth0", "fe80::/64"),
        ("none", "", ""),
        ("whom a proxy does not name", "_hidden" * 100, ("_hidden" * 100)[:64]),
    ],
)
def test_a_household_is_one_block(_case: str, address: str, block: str) -> None:
    assert block_of(address) == block


async def test_a_household_of_ipv6_shares_what_it_has(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller(monkeypatch, SCANS=2)
    told = []
    for address in ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", "[2001:db8:1:2:3::3]:4711", "2001:db8:1:3::1"):
        async with doors.visitor(forwarded=address) as client:
            told.append((await ask_for_scan(client)).status_code)
    assert told == [303, 303, 429, 303]


# --- generosity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_on_the_machine_of_a_sandbox_no_developer_is_stopped(
    doors: Doors, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    smaller(monkeypatch, SCANS=1)
    async with doors.visitor(forwarded=address) as client:
        assert {(await ask_for_scan(client)).status_code for _ in range(30)} == {303}


async def test_a_live_worlds_own_machine_is_like_any_other(
    house: Any, world: Any, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller(monkeypatch, SCANS=3)
    live = type(world)(**{**{name: getattr(world, name) for name in world.__struct_fields__}, "kind": "live"})
    async with serving_twice(house, live, dsn) as doors, doors.visitor() as client:
        await doors.wait(timedelta(days=1))
        assert [(await ask_for_scan(client)).status_code for _ in range(4)] == [303] * 3 + [429]


async def test_an_operator_may_make_budgets_larger(
    house: Any, world: Any, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    smaller(monkeypatch, SCANS=1)
    proxies = (ip_network("127.0.0.1"),)
    async with serving_twice(house, world, dsn, budget_times=5, trusted_proxies=proxies) as doors:
        await doors.wait(timedelta(days=1))
        async with doors.visitor() as client:
            assert [(await ask_for_scan(client)).status_code for _ in range(6)] == [303] * 5 + [429]
        told = [(await doors.guess("wrong", "198.51.100.9")).status_code for _ in range(6)]
        assert told == [403] * 5 + [429], "but nobody guesses oftener"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("DEWPOND_TRUSTED_PROXIES", "*", "DEWPOND_TRUSTED_PROXIES"),
        ("DEWPOND_TRUSTED_PROXIES", "proxy.example", "DEWPOND_TRUSTED_PROXIES"),
        ("DEWPOND_TRUSTED_PROXIES", "10.0.0.7/8", "host bits set"),
        ("DEWPOND_TRUSTED_PROXIES", "10.0.0.0/8, 0.0.0.0/0", "names everybody"),
        ("DEWPOND_TRUSTED_PROXIES", "::/0", "names everybody"),
        ("DEWPOND_BUDGET_TIMES", "0", "DEWPOND_BUDGET_TIMES"),
        ("DEWPOND_BUDGET_TIMES", "-1", "DEWPOND_BUDGET_TIMES"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, problem: str) -> None:
    with pytest.raises(SettingInvalid, match=problem.replace("*", r"\*")):
        read_settings({name: value})


def test_proxies_are_addresses_and_networks() -> None:
    settings = read_settings({"DEWPOND_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8,2001:db8::/32"})
    assert [str(one) for one in settings.trusted_proxies] == ["127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"]
    assert read_settings({}).trusted_proxies == ()


# --- afterwards -------------------------------------------------------------------------------------------------------


async def test_a_worker_takes_away_what_is_over(doors: Doors, house: Any) -> None:
    async with doors.visitor() as client:
        await ask_for_scan(client)
        await ask_to_sign_in(client)
    tables = ("kit.budgets", "identity.scans", "identity.challenges")
    assert all([await doors.rows(table) for table in tables])
    await doors.wait(timedelta(days=1))
    async with doors.database.transaction() as tx:
        await tx.connection.execute("update identity.scans set expires_at = expires_at - interval '2 minutes'")
        await tx.connection.execute("update identity.challenges set expires_at = expires_at - interval '2 minutes'")
    await sweep(house)
    assert [await doors.rows(table) for table in tables] == [0, 0, 0]
