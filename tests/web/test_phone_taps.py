"""Taps: the short road of a confirmation gives what the pages would have given, and carries nothing out twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from dewpond import pay, web
from dewpond.kit import worlds
from dewpond.kit.batch import Batch
from dewpond.kit.failures import OutcomeUnknown
from dewpond.web.phone.taps import Tap, Taps
from web.conftest import Client, Doors, Visitors, serving
from web.counters import PIN, Counter, money_of

JSON = {"accept": "application/json"}
#: The same form as far as the pages are concerned, and none that the short road knows.
LONG = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


@pytest.fixture
async def counter(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice", "100.00")


async def tap(phone: Any, code: str, body: str = f"pin={PIN}", **headers: str) -> Any:
    told = {"origin": phone.origin, "content-type": "application/x-www-form-urlencoded"} | headers
    return await phone.post(f"/q/{code}/confirmation", content=body, headers=told)


async def tries_spent(house: Any, person: Any) -> int:
    async with house.db.transaction() as tx:
        return int(await tx.connection.fetchval("select tries from identity.pins where person_id = $1", person.id))


@dataclass
class Watched:
    """A phone's site that counts its taps, and what its routes are asked."""

    phone: Client
    routed: list[str]
    taps: list[Tap]


Batched = Callable[[Sequence[Tap]], Awaitable[Sequence[Any]]]


@asynccontextmanager
async def watched(
    house: Any, world: Any, database: Any, person: Any, ill: Batched | None = None, **batch: Any
) -> AsyncIterator[Watched]:
    """`ill` carries taps out in the house's place."""
    seen: list[Tap] = []
    routed: list[str] = []

    def create(house: Any, world: Any) -> web.Porch:
        porch = web.create_phone_site(house, world)
        taps: Taps = porch._short.__self__  # type: ignore[union-attr] # it is there
        inner, carry_out = porch._app, ill or taps._carry_out

        async def routes(scope: Any, receive: Any, send: Any) -> None:
            routed.append(scope["path"])
            await inner(scope, receive, send)

        async def counted(items: Sequence[Tap]) -> Sequence[Any]:
            seen.extend(items)
            return await carry_out(items)

        porch._app = routes
        taps.batch = Batch(counted, key=lambda tap: tap.code, **batch)
        return porch

    async with serving(house, world, create, "public_url") as phone:
        visitors = Visitors(Doors(phone=phone, staff=""), database)
        client = await visitors.person(person)
        yield Watched(client, routed, seen)
        await client.aclose()


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
async def test_both_roads_answer_alike(
    house: Any, world: Any, database: Any, counter: Counter, alice: Any, accept: str
) -> None:
    async with watched(house, world, database, alice) as seen:
        short = await tap(seen.phone, (await counter.ask()).code, accept=accept)
        assert seen.routed == []
        long = await tap(seen.phone, (await counter.ask()).code, accept=accept, **LONG)
        assert len(seen.routed) == 1
    assert short.status_code == long.status_code == (200 if accept.startswith("application") else 303)
    of_itself = {"location", "x-request-id", "date", "server"}
    told = [{name: value for name, value in one.headers.items() if name not in of_itself} for one in (short, long)]
    assert told[0] == told[1]
    assert ("location" in short.headers) is ("location" in long.headers)
    if short.content:
        assert short.json().keys() == long.json().keys()
        assert short.json()["receipt"] == f"/receipts/{short.json()['payment']}"
    assert await money_of(house, alice) == 64_00


async def test_a_small_sum_is_a_tap_with_nothing_in_it(
    house: Any, world: Any, database: Any, counter: Counter, alice: Any
) -> None:
    async with watched(house, world, database, alice) as seen:
        refused = await tap(seen.phone, (await counter.ask()).code, "")
        assert (refused.status_code, "passkey or your PIN" in refused.text) == (403, True)
        async with house.db.transaction() as tx:
            limits = pay.Limits(person_id=alice.id, without_pin_minor=20_00)
            await pay.set_limits(tx, limits, now=await worlds.read_clocks(tx))
        seen.routed.clear()
        assert (await tap(seen.phone, (await counter.ask()).code, "")).status_code == 303
        assert seen.routed == []
    assert await money_of(house, alice) == 82_00


@pytest.mark.parametrize("headers", [{}, JSON])
async def test_a_refused_tap_is_told_by_the_page_and_spends_one_try(
    house: Any, world: Any, database: Any, counter: Counter, alice: Any, headers: dict[str, str]
) -> None:
    opened = await counter.ask()
    async with watched(house, world, database, alice) as seen:
        answer = await tap(seen.phone, opened.code, "pin=000000", **headers)
        assert answer.status_code == 403
        assert "Tries left: 4" in answer.text
        assert (len(seen.taps), len(seen.routed)) == (1, 1)
        assert await tries_spent(house, alice) == 1
        assert (await tap(seen.phone, opened.code, **headers)).status_code in {200, 303}
    assert await tries_spent(house, alice) == 0


async def test_what_ends_badly_is_told_by_the_page_which_does_not_try_again(
    house: Any, world: Any, database: Any, counter: Counter, alice: Any
) -> None:
    async def lost(items: Sequence[Tap]) -> Sequence[Any]:
        return [OutcomeUnknown() for _ in items]

    async def faulty(_items: Sequence[Tap]) -> Sequence[Any]:
        raise ValueError("a fault of ours")

    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"waiting": 0}, 503, "Very many people are here right now"),
        ({"ill": lost}, 503, "See whether it is paid"),
        ({"ill": faulty}, 500, ""),
    ]
    for how, status, says in cases:
        opened = await counter.ask()
        async with watched(house, world, database, alice, **how) as seen:
            answer = await tap(seen.phone, opened.code)
            assert (answer.status_code, says in answer.text, len(seen.routed)) == (status, True, 1)
            assert (await tap(seen.phone, opened.code, **JSON)).status_code == status
            assert len({one.id for one in seen.taps}) == (0 if "waiting" in how else 2)
    assert await money_of(house, alice) == 100_00


@pytest.mark.parametrize(
    ("_case", "body", "status"),
    [
        ("a PIN with a letter in it", "pin=12345x", 422),
        ("ten bytes of something else", "xyz=123456", 422),
        ("ten bytes that are no form", "\0\0\0\0\0\0\0\0\0\0", 422),
        ("digits of another script", "pin=１２", 422),
        ("a PIN and more", f"pin={PIN}&sum=1", 422),
    ],
)
async def test_other_forms_reach_the_page_whole(
    visitors: Any, counter: Counter, alice: Any, house: Any, _case: str, body: str, status: int
) -> None:
    phone = await visitors.person(alice)
    answer = await tap(phone, (await counter.ask()).code, body)
    assert answer.status_code == status
    assert await money_of(house, alice) == 100_00
    assert await tries_spent(house, alice) == 0


async def test_a_tap_of_somebody_else_pays_nothing(visitors: Any, counter: Counter, alice: Any, house: Any) -> None:
    opened, phone = await counter.ask(), await visitors.person(alice)
    assert (await tap(phone, opened.code, origin="https://evil.example")).status_code == 403
    assert (await tap(phone, opened.code, origin="null")).status_code == 403
    assert (await tap(visitors.stranger(), opened.code, **JSON)).status_code == 401
    name, token = next(iter(phone.cookies.items()))
    for forged in (token[:-4] + "AAAA", token[::-1], "x" * 86, "x" * 5000):
        stranger = visitors.stranger()
        stranger.cookies.set(name, forged)
        assert (await tap(stranger, opened.code, **JSON)).status_code == 401
    assert await money_of(house, alice) == 100_00


async def test_a_session_in_use_is_written_down_now_and_then(
    visitors: Any, counter: Counter, alice: Any, database: Any
) -> None:
    phone = await visitors.person(alice)

    async def age() -> float:
        async with database.transaction() as tx:
            told = "select extract(epoch from clock_timestamp() - seen_at) from identity.sessions where holder_id = $1"
            return float(await tx.connection.fetchval(told, alice.id))

    async with database.transaction() as tx:
        await tx.connection.execute(
            "update identity.sessions set seen_at = seen_at - interval '1 hour' where holder_id = $1", alice.id
        )
    assert await age() > 3000
    assert (await tap(phone, (await counter.ask()).code)).status_code == 303
    assert await age() < 300


async def test_taps_at_once_pay_once(visitors: Any, counter: Counter, alice: Any, house: Any) -> None:
    opened, phone = await counter.ask(), await visitors.person(alice)
    answers = await asyncio.gather(*(tap(phone, opened.code) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert await money_of(house, alice) == 82_00
