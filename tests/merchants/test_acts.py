"""The journal of acts: written once with what it tells of, read newest first, changed by nobody."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from dewpond import merchants
from dewpond.kit.clock import Now
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.merchants import Act, Deed

from .conftest import NOON, NewMember, NewShop

NOW = Now(world=NOON + timedelta(days=400), wall=NOON)


async def record(database: Database, deed: Deed, **told: Any) -> None:
    async with database.transaction() as tx:
        await merchants.record_act(tx, deed, **({"by": None, "now": NOW} | told))


async def read(database: Database, **asked: Any) -> list[Act]:
    async with database.transaction() as tx:
        return await merchants.list_acts(tx, **asked)


async def test_what_was_told_is_read(database: Database, new_member: NewMember, new_shop: NewShop) -> None:
    mei, shop = await new_member("Mei"), await new_shop()
    await record(
        database,
        Deed.ROLE_GIVEN,
        by=mei.id,
        merchant_id=shop.id,
        subject=mei.text_id,
        detail="cashier",
        address="192.0.2.7",
    )
    [act] = await read(database, merchant_id=shop.id)
    assert act == Act(
        position=act.position,
        deed=Deed.ROLE_GIVEN,
        staff_id=mei.id,
        merchant_id=shop.id,
        subject=mei.text_id,
        detail="cashier",
        address="192.0.2.7",
        occurred_at=NOW.world,
        recorded_at=NOW.wall,
    )


async def test_of_one_or_at_one_or_both_a_page_at_a_time(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    mei, jun, tea, coffee = await new_member("Mei"), await new_member("Jun"), await new_shop(), await new_shop()
    for number in range(8):
        by, shop = (mei, jun)[number % 2], (tea, coffee)[number // 2 % 2]
        await record(database, Deed.CODE_MADE, by=by.id, merchant_id=shop.id, subject=str(number))
    await record(database, Deed.CLOCK_FROZEN, by=mei.id)

    async def told(**asked: Any) -> list[str]:
        return [act.subject for act in await read(database, **asked)]

    assert await told(staff_id=mei.id) == ["", "6", "4", "2", "0"]
    assert await told(merchant_id=coffee.id) == ["7", "6", "3", "2"]
    assert await told(merchant_id=coffee.id, staff_id=jun.id) == ["7", "3"]
    assert (await told())[:9] == ["", "7", "6", "5", "4", "3", "2", "1", "0"]
    seen: list[str] = []
    before = None
    while page := await read(database, merchant_id=tea.id, before=before, most=3):
        seen += [act.subject for act in page]
        before = page[-1].position
    assert seen == ["5", "4", "1", "0"]
    for asked in ({}, {"staff_id": mei.id}, {"merchant_id": tea.id, "staff_id": mei.id}):
        first = await read(database, most=1, **asked)
        rest = await read(database, before=first[0].position, **asked)
        assert all(act.position < first[0].position for act in rest)
        assert rest


async def test_what_is_done_once_is_written_down_once(database: Database, new_member: NewMember) -> None:
    mei, once = await new_member("Mei"), new_id()
    await asyncio.gather(*(record(database, Deed.TOP_UP_MADE, by=mei.id, once=once) for _ in range(4)))
    await record(database, Deed.TOP_UP_PROPOSED, by=mei.id, once=once)
    assert [act.deed for act in await read(database, staff_id=mei.id)] == [Deed.TOP_UP_PROPOSED, Deed.TOP_UP_MADE]


async def test_a_key_of_somebodys_choice_moves_nothing_to_the_end(database: Database, new_member: NewMember) -> None:
    """Forms carry keys that a browser may choose: the place in the journal does not follow from them."""
    mei = await new_member("Mei")
    await record(database, Deed.CLOCK_FROZEN, by=mei.id)
    await record(database, Deed.TOP_UP_MADE, by=mei.id, once=UUID(int=0))
    assert [act.deed for act in await read(database, staff_id=mei.id)] == [Deed.TOP_UP_MADE, Deed.CLOCK_FROZEN]


async def test_it_stands_and_falls_with_what_it_tells_of(database: Database, new_member: NewMember) -> None:
    mei = await new_member("Mei")
    async with database.transaction() as tx:
        undone = tx.connection.transaction()
        await undone.start()
        await merchants.record_act(tx, Deed.CLOCK_FROZEN, by=mei.id, now=NOW)
        await undone.rollback()
    assert await read(database, staff_id=mei.id) == []


@pytest.mark.parametrize(
    "statement",
    [
        "update merchants.acts set subject = 'somebody else'",
        "delete from merchants.acts",
        "truncate merchants.acts",
        "insert into merchants.acts (position) overriding system value values (0)",
        "update merchants.staff set invited_by = null",
    ],
)
async def test_nobody_rewrites_it(database: Database, new_member: NewMember, statement: str) -> None:
    mei = await new_member("Mei")
    await record(database, Deed.CLOCK_FROZEN, by=mei.id)
    before = await read(database)
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.NotNullViolationError)):
        async with database.transaction() as tx:
            await tx.connection.execute(statement)
    assert await read(database) == before


def test_every_deed_has_a_name_that_fits_its_column() -> None:
    assert all(deed.value.replace("_", "").isalpha() and len(deed.value) <= 40 for deed in Deed)


# --- who let whom in --------------------------------------------------------------------------------------------------


async def test_whoever_shares_a_root_is_kin(database: Database) -> None:
    async with database.transaction() as tx:
        made: dict[str, merchants.StaffMember] = {}
        hosts = {"root": "", "olga": "", "ben": "olga", "dora": "ben", "cleo": "olga", "anna": "", "eve": "cleo"}
        for name, host in hosts.items():
            made[name] = await merchants.create_staff_member(
                tx, f"{name}-{new_id().hex}", name, is_operator=True, by=made[host].id if host else None, wall_now=NOON
            )
        await merchants.invite(tx, made["ben"].id, by=made["olga"].id, wall_now=NOON)
        await merchants.invite(tx, made["anna"].id, by=made["root"].id, wall_now=NOON)
        await merchants.invite(tx, made["anna"].id, wall_now=NOON)  # from the terminal: that washes nothing off
        await merchants.invite(tx, made["eve"].id, by=made["root"].id, wall_now=NOON)
        await merchants.end_staff_member(tx, made["ben"].id, wall_now=NOON)
        kin = {name: await merchants.list_kin(tx, one.id) for name, one in made.items()}
    names = {one.id: name for name, one in made.items()}
    assert {name: {names[id_] for id_ in ids} for name, ids in kin.items()} == {
        "root": {"root", "anna", "eve"},
        "anna": {"root", "anna", "eve"},
        "olga": {"olga", "ben", "dora", "cleo", "eve"},
        "ben": {"olga", "ben", "dora", "cleo", "eve"},
        "dora": {"olga", "ben", "dora", "cleo", "eve"},
        "cleo": {"olga", "ben", "dora", "cleo", "eve"},
        "eve": set(made),  # of two roots, whose operators are not kin by that
    }


async def test_kin_are_operators_and_end_where_links_go_in_a_circle(database: Database, new_member: NewMember) -> None:
    async with database.transaction() as tx:
        anna, ben = [
            await merchants.create_staff_member(tx, f"{name}-{new_id().hex}", name, is_operator=True, wall_now=NOON)
            for name in ("anna", "ben")
        ]
        shop = await merchants.create_staff_member(tx, f"mei-{new_id().hex}", "Mei", by=anna.id, wall_now=NOON)
        await merchants.invite(tx, ben.id, by=anna.id, wall_now=NOON)
        await merchants.invite(tx, anna.id, by=ben.id, wall_now=NOON)
        await merchants.invite(tx, shop.id, by=ben.id, wall_now=NOON)
        kin = [await merchants.list_kin(tx, one.id) for one in (anna, ben)]
    assert kin == [{anna.id, ben.id}] * 2


async def test_an_account_is_there_since_its_link_was_used(database: Database, new_member: NewMember) -> None:
    mei, hour = await new_member("Mei"), timedelta(hours=1)

    async def since() -> Any:
        async with database.transaction() as tx:
            [arrival] = await merchants.list_arrivals(tx, [mei.id])
        return arrival.since

    assert await since() == NOON
    async with database.transaction() as tx:
        token = await merchants.invite(tx, mei.id, wall_now=NOON + hour)
    assert await since() == NOON
    async with database.transaction() as tx:
        await merchants.redeem_invitation(tx, token, wall_now=NOON + 2 * hour)
    assert await since() == NOON + 2 * hour
