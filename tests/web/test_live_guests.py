"""Who listens to a live page: those who may, for as long as they may, each on no more lines than a session keeps."""

from collections.abc import Collection
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID

import pytest

from dewpond import identity, merchants
from dewpond.identity import How, Realm
from dewpond.kit import clock
from dewpond.kit.db import Database, Tx
from dewpond.merchants import Capability, Role
from dewpond.web import console
from dewpond.web.live import Guest, Live, Patch, Telling, Write
from dewpond.web.words import Language
from web.listeners import listening, open_and_never_read, there_is_room
from web.live_sites import moved, position, sell, special
from web.tills import Till


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice", "900.00")


@pytest.fixture
async def owner(till: Till, visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member(shop=till.shop))


# --- who may listen ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "way",
    ["signed out", "signed out elsewhere", "too old", "role ended", "role changed", "left the house"],
)
async def test_who_may_listen_no_more_is_let_go_within_seconds_by_every_server(
    house: Any, world: Any, till: Till, owner: Any, visitors: Any, new_member: Any, database: Database, way: str
) -> None:
    member = await new_member("Ana", shop=till.shop, role=Role.ANALYST)
    client = await visitors.member(member)
    path = f"{till.path}/pool/live"
    async with (
        special(house, world) as (first, _),
        special(house, world) as (second, _),
        listening(moved(owner, first), path) as stays,
        listening(moved(client, second), path) as goes,
        listening(moved(client, first), path) as goes_too,
    ):
        if way == "signed out":
            client.base_url = client.origin
            assert (await client.send_form("/sign-out")).status_code == 303
        else:
            await end(database, till, member, way)
        for line in (goes, goes_too):
            await line.until(lambda one: one.has_ended, seconds=5)  # two, and what a busy machine adds
        assert not stays.has_ended
        answer = await client.get(path, headers={"accept": "text/event-stream"})
        assert answer.status_code == {"role ended": 404, "role changed": 403}.get(way, 401)


async def end(database: Database, till: Till, member: Any, way: str) -> None:
    """Somebody may look on no more."""
    wall = clock.wall_now()
    async with database.transaction() as tx:
        if way == "signed out elsewhere":
            [session] = await identity.list_sessions(tx, Realm.STAFF, member.id, wall_now=wall)
            await identity.end_session(tx, Realm.STAFF, member.id, session.id, wall_now=wall)
        elif way == "too old":
            age = "update identity.sessions set expires_at = $2 where holder_id = $1"
            await tx.connection.execute(age, member.id, wall)
        elif way == "role ended":
            await merchants.end_role(tx, till.shop.merchant.id, member.id, wall_now=wall)
        elif way == "role changed":
            await merchants.give_role(tx, till.shop.merchant.id, member.id, Role.CASHIER, wall_now=wall)
        else:
            await merchants.end_staff_member(tx, member.id, wall_now=wall)


async def test_what_happens_after_the_end_is_not_told(
    house: Any,
    world: Any,
    till: Till,
    owner: Any,
    alice: Any,
    visitors: Any,
    new_member: Any,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even where nobody has looked yet who may still listen."""
    monkeypatch.setattr("dewpond.web.live._WELCOME_SECONDS", 3600)
    member = await new_member("Ana", shop=till.shop)
    client = await visitors.member(member)
    async with (
        special(house, world) as (origin, _),
        listening(moved(owner, origin), f"{till.path}/live") as stays,
        listening(moved(client, origin), f"{till.path}/live") as goes,
    ):
        told = await sell(till, alice)
        for line in (stays, goes):
            await line.until(lambda one: one.payments == {told.id})
        await end(database, till, member, "role ended")
        secret = await sell(till, alice)
        await stays.until(lambda one: one.payments == {told.id, secret.id})
        await goes.until(lambda one: one.has_ended)
        assert goes.payments == {told.id}


async def test_who_ends_while_they_join_is_told_nothing_of_what_they_missed(
    house: Any, till: Till, alice: Any, new_member: Any, database: Database
) -> None:
    member, start = await new_member("Ana", shop=till.shop), await position(database)
    async with database.transaction() as tx:
        session, _ = await identity.open_session(
            tx, Realm.STAFF, member.id, device="", address="", how=How.ONE_TAP, wall_now=clock.wall_now()
        )
    guest = Guest(session_id=session.id, staff_id=member.id, merchant_id=till.shop.merchant.id, need=Capability.TODAY)
    await sell(till, alice)
    lives = Live(house.db, console.KINDS, console.still_welcome)

    async def listen() -> list[bytes]:
        """The first two messages, where there are as many."""
        messages: list[bytes] = []
        async for message in lives.stream("day", till.shop.merchant.id, Language.ENGLISH, guest, after=start):
            messages.append(message)
            if len(messages) == 2:
                break
        return messages

    assert [b"payment-" in message for message in await listen()] == [False, True]
    await end(database, till, member, "signed out elsewhere")
    assert [b"payment-" in message for message in await listen()] == [False]
    await lives.close()


async def test_listening_does_not_keep_a_session_alive(
    house: Any, world: Any, till: Till, owner: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dewpond.web.live._WELCOME_SECONDS", 0.1)
    asked = 0

    async def welcome(tx: Tx, guests: Collection[Guest]) -> set[Guest]:
        nonlocal asked
        asked += 1
        return await console.still_welcome(tx, guests)

    async with (
        special(house, world, welcome=welcome) as (origin, _),
        listening(moved(owner, origin), f"{till.path}/live") as line,
    ):
        long_ago = "update identity.sessions set seen_at = seen_at - interval '1 hour' returning seen_at"
        async with database.transaction() as tx:
            before = max(row[0] for row in await tx.connection.fetch(long_ago))
        begun = asked
        await line.until(lambda _: asked >= begun + 3)
        async with database.transaction() as tx:
            after = await tx.connection.fetchval("select max(seen_at) from identity.sessions")
        assert after == before
        assert not line.has_ended


async def test_a_full_house_says_so(till: Till, owner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dewpond.web.live.STREAMS", 1)
    async with listening(owner, f"{till.path}/live"), listening(owner, f"{till.path}/live") as second:
        assert second.status == 503
    await there_is_room(owner, f"{till.path}/live")


# --- many lines of one session ----------------------------------------------------------------------------------------


async def test_a_session_keeps_its_newest_lines_and_the_oldest_rest(
    till: Till, owner: Any, alice: Any, visitors: Any, new_member: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dewpond.web.live.OF_SESSION", 3)
    colleague = await visitors.member(await new_member("Ana", shop=till.shop))
    async with AsyncExitStack() as lines:
        other = await lines.enter_async_context(listening(colleague, f"{till.path}/live"))
        mine = [
            await lines.enter_async_context(listening(owner, f"{till.path}/{'pool/live' if number % 2 else 'live'}"))
            for number in range(5)
        ]
        for oldest in mine[:2]:
            await oldest.until(lambda one: one.has_ended)
            assert oldest.messages[-1].told == {"rest": True}
            assert oldest.status == 200
        await sell(till, alice)
        for line in (other, *mine[2:]):
            await line.until(lambda one: len(one.messages) > 1)
            assert not line.has_ended
        assert "rest" not in other.text
        assert not any(message.payments or message.people for line in mine[:2] for message in line.messages)
        async with listening(owner, f"{till.path}/live", last=mine[0].position) as back:
            assert back.payments == mine[2].payments, "what it was not told while it rested"
            await mine[2].until(lambda one: one.has_ended)
    await there_is_room(owner, f"{till.path}/live", lines=3)  # lines that were given back count no more


async def test_lines_that_nobody_reads_are_not_piled_up(
    house: Any,
    world: Any,
    till: Till,
    owner: Any,
    alice: Any,
    visitors: Any,
    new_member: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dewpond.web.live.OF_SESSION", 2)
    monkeypatch.setattr("dewpond.web.live._MOST_OF_SESSION", 4)

    async def compose(tx: Tx, merchant_id: UUID) -> Write:
        return lambda: Telling(html={"#x": Patch(how="replace", html="x" * 3_000_000)})

    colleague, told = await visitors.member(await new_member("Ana", shop=till.shop)), 0
    async with (
        special(house, world, compose) as (origin, _),
        listening(moved(colleague, origin), f"{till.path}/live") as quick,
        AsyncExitStack() as lines,
    ):
        for _ in range(4):
            deaf = await open_and_never_read(moved(owner, origin), f"{till.path}/live")
            lines.callback(deaf.close)
            await sell(till, alice, "0.01")
            told += 1  # and more than a socket takes is on its way to the deaf one
            await quick.until(lambda one, told=told: len(one.messages) > told)
        answer = await owner.get(f"{till.path}/live", headers={"accept": "text/event-stream"})
        assert answer.status_code == 503
        deaf.close()
        await there_is_room(owner, f"{till.path}/live")
