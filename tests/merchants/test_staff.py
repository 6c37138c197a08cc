"""Staff: who works where and as what, and what that opens."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from dewpond import merchants
from dewpond.identity import NameInvalid
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.merchants import (
    CAPABILITIES,
    Capability,
    LastOperator,
    LastOwner,
    Merchant,
    MerchantId,
    MerchantNotFound,
    NotClaimed,
    Role,
    RoleNotFound,
    SignInNameInvalid,
    SignInNameTaken,
    StaffId,
    StaffMember,
    StaffMemberNotFound,
    WorksHere,
)

from .conftest import NOON, NewMember, NewShop


async def give(
    database: Database, shop: Merchant, member: StaffMember, role: Role, *, by: StaffId | None = None
) -> None:
    async with database.transaction() as tx:
        await merchants.give_role(tx, shop.id, member.id, role, by=by, wall_now=NOON)


async def end(database: Database, shop: Merchant, member: StaffMember, *, by: StaffId | None = None) -> None:
    async with database.transaction() as tx:
        await merchants.end_role(tx, shop.id, member.id, by=by, wall_now=NOON + timedelta(hours=1))


async def role_at(database: Database, shop: Merchant, member: StaffMember) -> Role | None:
    async with database.transaction() as tx:
        return await merchants.role_of(tx, member.id, shop.id)


# --- members ----------------------------------------------------------------------------------------------------------


async def test_a_member_of_staff_is_found_by_sign_in_name_id_and_name(
    database: Database, new_member: NewMember
) -> None:
    first = await new_member("Zhang Min", sign_in_name="Zhang.Min@tea.example ")
    second = await new_member("Zhang Min")
    assert first.sign_in_name == "zhang.min@tea.example"
    assert first.text_id.startswith("stf_")
    async with database.transaction() as tx:
        for text in ("zhang.min@tea.example", "ZHANG.MIN@tea.example", first.text_id):
            assert await merchants.find_staff_members(tx, text) == [first]
        assert set(await merchants.find_staff_members(tx, "Zhang Min")) == {first, second}
        assert await merchants.find_staff_members(tx, "Zhang") == []
        assert await merchants.get_staff_member(tx, first.id) == first
        assert await merchants.list_staff_members(tx, [first.id, new_id()]) == [first]
        with pytest.raises(StaffMemberNotFound):
            await merchants.get_staff_member(tx, new_id())


async def test_a_sign_in_name_wins_over_everybodys_name(database: Database, new_member: NewMember) -> None:
    meant = await new_member("Wang Fang", sign_in_name="fang")
    await new_member("fang")
    async with database.transaction() as tx:
        assert await merchants.find_staff_members(tx, "fang") == [meant]


@pytest.mark.parametrize(
    ("_case", "sign_in_name", "name", "refusal"),
    [
        ("no sign-in name", " ", "Li Wei", SignInNameInvalid),
        ("a blank inside", "li wei", "Li Wei", SignInNameInvalid),
        ("letters that look like others", "lі-wei", "Li Wei", SignInNameInvalid),
        ("a mark in front", "-li", "Li Wei", SignInNameInvalid),
        ("too long", "l" * 65, "Li Wei", SignInNameInvalid),
        ("a null byte", "li\x00", "Li Wei", SignInNameInvalid),
        ("a line break", "li-wei\n-", "Li Wei", SignInNameInvalid),
        ("no name", "li-wei", "", NameInvalid),
        ("a name of two lines", "li-wei", "Li\nWei", NameInvalid),
    ],
)
async def test_unusable_names_are_refused(
    database: Database, _case: str, sign_in_name: str, name: str, refusal: type[Failure]
) -> None:
    async with database.transaction() as tx:
        with pytest.raises(refusal):
            await merchants.create_staff_member(tx, sign_in_name, name, wall_now=NOON)


async def test_a_sign_in_name_is_taken_once_and_for_ever(database: Database, new_member: NewMember) -> None:
    gone = await new_member(sign_in_name="only-one")
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, gone.id, wall_now=NOON)
    async with database.transaction() as tx:
        with pytest.raises(SignInNameTaken):
            await merchants.create_staff_member(tx, "ONLY-ONE", "Somebody", wall_now=NOON)


async def test_operators_are_told_apart_and_stay_what_they_are(database: Database, new_member: NewMember) -> None:
    anna = await new_member("Anna", is_operator=True)
    clerk = await new_member()
    gone = await new_member("Boris", is_operator=True)
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, gone.id, wall_now=NOON)
        assert await merchants.list_operators(tx) == [anna]
        newest = await merchants.newest_staff_members(tx)
    assert {anna, clerk} <= set(newest)
    assert gone.id not in {one.id for one in newest}
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction() as tx:
            await tx.connection.execute("update merchants.staff set is_operator = true where id = $1", clerk.id)


# --- roles ------------------------------------------------------------------------------------------------------------


def test_every_role_opens_what_it_should() -> None:
    """The whole table, so that a new capability is a decision for each role."""
    everything = {"today", "payments", "refund", "pool", "codes", "keys", "deliveries", "staff"}
    assert set(Capability) == everything
    assert {role.value: {one.value for one in CAPABILITIES[role]} for role in Role} == {
        "owner": everything,
        "cashier": {"today", "payments", "refund", "codes"},
        "analyst": {"today", "payments", "pool"},
    }


async def test_a_role_holds_at_its_merchant_only(database: Database, new_member: NewMember, new_shop: NewShop) -> None:
    tea, coffee, member = await new_shop(), await new_shop("Coffee Shop"), await new_member()
    await give(database, tea, member, Role.CASHIER)
    assert await role_at(database, tea, member) is Role.CASHIER
    assert await role_at(database, coffee, member) is None
    async with database.transaction() as tx:
        assert await merchants.list_staff(tx, coffee.id) == []
        assert await merchants.roles_of(tx, member.id) == [(tea, Role.CASHIER)]
        assert await merchants.role_of(tx, new_id(), tea.id) is None


async def test_staff_are_listed_by_role_and_name_and_their_places_by_name(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    tea, coffee = await new_shop(), await new_shop("Coffee Shop")
    cashiers = [await new_member(name) for name in ("Cui", "Bai")]
    analyst, owner = await new_member("Ai"), await new_member("Deng")
    await give(database, tea, owner, Role.OWNER)
    await give(database, tea, analyst, Role.ANALYST)
    for cashier in cashiers:
        await give(database, tea, cashier, Role.CASHIER)
    await give(database, coffee, owner, Role.ANALYST)
    async with database.transaction() as tx:
        assert [(one.name, role) for one, role in await merchants.list_staff(tx, tea.id)] == [
            ("Deng", Role.OWNER), ("Bai", Role.CASHIER), ("Cui", Role.CASHIER), ("Ai", Role.ANALYST),
        ]  # fmt: skip
        assert await merchants.roles_of(tx, owner.id) == [(coffee, Role.ANALYST), (tea, Role.OWNER)]


async def test_a_role_changes_and_its_history_stays(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    shop, boss, member = await new_shop(), await new_member(), await new_member()
    await give(database, shop, boss, Role.OWNER)
    await give(database, shop, member, Role.CASHIER, by=boss.id)
    await give(database, shop, member, Role.CASHIER, by=boss.id)
    await give(database, shop, member, Role.ANALYST, by=boss.id)
    await end(database, shop, member, by=boss.id)
    assert await role_at(database, shop, member) is None
    await give(database, shop, member, Role.CASHIER)
    assert await role_at(database, shop, member) is Role.CASHIER
    async with database.transaction() as tx:
        rows = await tx.connection.fetch(
            "select role, given_by, ended_at, ended_by from merchants.roles where staff_id = $1 order by id", member.id
        )
    assert [tuple(row) for row in rows] == [
        ("cashier", boss.id, NOON, boss.id),
        ("analyst", boss.id, NOON + timedelta(hours=1), boss.id),
        ("cashier", None, None, None),
    ]


async def test_a_merchant_keeps_an_owner(database: Database, new_member: NewMember, new_shop: NewShop) -> None:
    shop, owner, second = await new_shop(), await new_member(), await new_member()
    await give(database, shop, owner, Role.OWNER)
    with pytest.raises(LastOwner):
        await end(database, shop, owner)
    with pytest.raises(LastOwner):
        await give(database, shop, owner, Role.CASHIER)
    assert await role_at(database, shop, owner) is Role.OWNER
    await give(database, shop, second, Role.OWNER)
    await give(database, shop, owner, Role.CASHIER)
    await end(database, shop, owner)
    with pytest.raises(LastOwner):
        await end(database, shop, second)


async def test_two_owners_cannot_take_each_other_away(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    for _ in range(5):
        shop, one, other = await new_shop(), await new_member(), await new_member()
        await give(database, shop, one, Role.OWNER)
        await give(database, shop, other, Role.OWNER)
        ended = await asyncio.gather(
            end(database, shop, one, by=other.id), end(database, shop, other, by=one.id), return_exceptions=True
        )
        assert sorted(type(outcome) for outcome in ended if outcome is not None) == [LastOwner]


async def test_two_who_give_a_role_at_once_give_one(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    shop, member = await new_shop(), await new_member()
    await asyncio.gather(*(give(database, shop, member, role) for role in [*Role, *Role] if role is not Role.OWNER))
    async with database.transaction() as tx:
        assert [one.id for one, _ in await merchants.list_staff(tx, shop.id)] == [member.id]


async def test_a_role_that_is_taken_away_meanwhile_does_not_come_back(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    """One owner ends it, another changes it: two connections, and the second finds what the first did."""
    shop, owner, member = await new_shop(), await new_member(), await new_member()
    await give(database, shop, owner, Role.OWNER)
    await give(database, shop, member, Role.CASHIER)

    async def change() -> Role:
        async with database.transaction() as tx:
            return await merchants.change_role(tx, shop.id, member.id, Role.OWNER, by=owner.id, wall_now=NOON)

    async with database.transaction() as tx:
        await merchants.end_role(tx, shop.id, member.id, by=owner.id, wall_now=NOON)
        changing = asyncio.create_task(change())
        done, _ = await asyncio.wait([changing], timeout=0.3)
        assert not done, "changes of a merchant's roles take turns"
    with pytest.raises(RoleNotFound):
        await changing
    assert await role_at(database, shop, member) is None


async def test_a_role_is_changed_where_there_is_one(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    shop, owner, member = await new_shop(), await new_member(), await new_member()
    await give(database, shop, owner, Role.OWNER)
    await give(database, shop, member, Role.CASHIER)
    async with database.transaction() as tx:
        for role, before in ((Role.ANALYST, Role.CASHIER), (Role.ANALYST, Role.ANALYST), (Role.OWNER, Role.ANALYST)):
            assert await merchants.change_role(tx, shop.id, member.id, role, by=owner.id, wall_now=NOON) is before
        await merchants.end_role(tx, shop.id, owner.id, wall_now=NOON)
        with pytest.raises(LastOwner):
            await merchants.change_role(tx, shop.id, member.id, Role.CASHIER, wall_now=NOON)
        with pytest.raises(RoleNotFound):
            await merchants.change_role(tx, shop.id, owner.id, Role.CASHIER, wall_now=NOON)
        with pytest.raises(MerchantNotFound):
            await merchants.change_role(tx, MerchantId(new_id()), member.id, Role.CASHIER, wall_now=NOON)
    assert await role_at(database, shop, member) is Role.OWNER


async def test_a_second_place_is_for_accounts_of_somebodys_own(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    tea, coffee = await new_shop(), await new_shop("Coffee Shop")
    mei, nobodys, gone = [await new_member(password=password) for password in ("longjing-tea", "", "longjing-tea")]
    await give(database, tea, mei, Role.OWNER)
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, gone.id, wall_now=NOON)
        assert await merchants.list_claimed(tx, [mei.id, nobodys.id]) == {mei.id}
        await merchants.add_role(tx, coffee.id, mei.id, Role.CASHIER, wall_now=NOON)
        for shop_id, member, refusal in (
            (coffee.id, mei, WorksHere),
            (coffee.id, nobodys, NotClaimed),
            (coffee.id, gone, StaffMemberNotFound),
            (MerchantId(new_id()), mei, MerchantNotFound),
        ):
            with pytest.raises(refusal):
                await merchants.add_role(tx, shop_id, member.id, Role.OWNER, wall_now=NOON)
        assert await merchants.roles_of(tx, mei.id) == [(coffee, Role.CASHIER), (tea, Role.OWNER)]
        assert await merchants.list_staff(tx, coffee.id) == [(mei, Role.CASHIER)]


async def test_of_two_who_add_somebody_at_once_one_does(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    async def add(role: Role) -> None:
        async with database.transaction() as tx:
            await merchants.add_role(tx, shop.id, member.id, role, wall_now=NOON)

    shop, member = await new_shop(), await new_member(password="longjing-tea")
    added = await asyncio.gather(*(add(role) for role in Role), return_exceptions=True)
    assert [type(outcome) for outcome in added if outcome is not None] == [WorksHere, WorksHere]


async def test_roles_of_many_are_asked_for_at_once(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    """And as many statements for ten as for one."""
    shops = [await new_shop(f"Shop {place}") for place in range(3)]
    members = [await new_member() for _ in range(10)]
    for place, member in enumerate(members[:8]):
        for shop in shops[: 1 + place % 3]:
            await give(database, shop, member, list(Role)[place % 2])
    pairs = [(member.id, shop.id) for member in members for shop in shops]

    async def count(asked: list[StaffMember]) -> int:
        heard: list[str] = []
        async with database.transaction() as tx:
            with tx.connection.query_logger(lambda record: heard.append(record.query)):
                places = await merchants.list_roles_of(tx, [one.id for one in asked])
                wanted = [(*pair, can) for pair in pairs if pair[0] in places for can in Capability]
                barred = await merchants.barred_among(tx, wanted)
                await merchants.list_claimed(tx, [one.id for one in asked])
        roles = {(who, shop.id): role for who, held in places.items() for shop, role in held}
        may = {(*pair, can) for pair, role in roles.items() for can in merchants.CAPABILITIES[role]}
        assert may
        assert barred == set(wanted) - may
        return len(heard)

    async with database.transaction() as tx:
        all_of = await merchants.list_roles_of(tx, [member.id for member in members])
        alone = {pair: role for pair in pairs if (role := await merchants.role_of(tx, *pair)) is not None}
        held = {(who, shop.id): role for who, held in all_of.items() for shop, role in held}
        assert held == alone
        assert await merchants.barred_among(tx, []) == set()
        assert await merchants.list_roles_of(tx, []) == {}
        assert await merchants.list_claimed(tx, []) == frozenset()
        assert (await merchants.list_roles_of(tx, [members[9].id])) == {members[9].id: []}
    assert await count(members[:1]) == await count(members)


async def test_what_is_not_there_gets_and_loses_no_role(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    shop, member = await new_shop(), await new_member()
    async with database.transaction() as tx:
        with pytest.raises(MerchantNotFound):
            await merchants.give_role(tx, MerchantId(new_id()), member.id, Role.OWNER, wall_now=NOON)
        with pytest.raises(MerchantNotFound):
            await merchants.end_role(tx, MerchantId(new_id()), member.id, wall_now=NOON)
        with pytest.raises(StaffMemberNotFound):
            await merchants.give_role(tx, shop.id, StaffId(new_id()), Role.OWNER, wall_now=NOON)
        with pytest.raises(RoleNotFound):
            await merchants.end_role(tx, shop.id, member.id, wall_now=NOON)
        with pytest.raises(StaffMemberNotFound):
            await merchants.end_staff_member(tx, StaffId(new_id()), wall_now=NOON)


async def test_whose_time_has_ended_has_nothing_left(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    tea, coffee, boss, member = await new_shop(), await new_shop(), await new_member(), await new_member()
    await give(database, tea, boss, Role.OWNER)
    await give(database, tea, member, Role.CASHIER)
    await give(database, coffee, member, Role.OWNER)
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, member.id, by=boss.id, wall_now=NOON)
        await merchants.end_staff_member(tx, member.id, wall_now=NOON + timedelta(days=1))
    assert await role_at(database, tea, member) is None
    assert await role_at(database, coffee, member) is None
    async with database.transaction() as tx:
        assert (await merchants.get_staff_member(tx, member.id)).ended_at == NOON
        assert await merchants.roles_of(tx, member.id) == []
        assert [one.id for one, _ in await merchants.list_staff(tx, tea.id)] == [boss.id]
        assert await merchants.find_staff_members(tx, member.sign_in_name) == []
        with pytest.raises(StaffMemberNotFound):
            await merchants.give_role(tx, tea.id, member.id, Role.CASHIER, wall_now=NOON)


async def test_a_merchant_is_found_by_its_number_whatever_others_are_called(
    database: Database, new_shop: NewShop
) -> None:
    shop = await new_shop()
    await new_shop(shop.number)
    async with database.transaction() as tx:
        assert await merchants.find_merchant_by_number(tx, shop.number) == shop
        assert await merchants.find_merchant_by_number(tx, shop.name) is None


# --- operators --------------------------------------------------------------------------------------------------------


async def test_operators_who_end_each_other_at_once_leave_one(database: Database, new_member: NewMember) -> None:
    async with database.transaction() as tx:
        for one in await merchants.list_operators(tx):
            await merchants.end_staff_member(tx, one.id, wall_now=NOON)
    some = [await new_member(is_operator=True) for _ in range(5)]

    async def end_next(place: int) -> None:
        async with database.transaction() as tx:
            whom, by = some[(place + 1) % 5], some[place]
            await merchants.end_operator(tx, whom.id, by=by.id, wall_now=NOON)

    answers = await asyncio.gather(*(end_next(place) for place in range(5)), return_exceptions=True)
    assert all(answer is None or isinstance(answer, LastOperator | StaffMemberNotFound) for answer in answers)
    async with database.transaction() as tx:
        left = await merchants.list_operators(tx)
    assert len(left) == 5 - answers.count(None) >= 1


async def test_whoever_is_no_operator_is_not_ended_as_one(database: Database, new_member: NewMember) -> None:
    olga, member = await new_member(is_operator=True), await new_member()
    async with database.transaction() as tx:
        with pytest.raises(StaffMemberNotFound):
            await merchants.end_operator(tx, member.id, by=olga.id, wall_now=NOON)
