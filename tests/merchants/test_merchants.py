"""Onboarding: a merchant gets everything it needs in one step, and nobody else's."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dewpond import merchants
from dewpond.kit import crypto
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.secrets import MasterKeys
from dewpond.merchants import (
    FeeRateInvalid,
    KeyMode,
    MerchantId,
    MerchantNameInvalid,
    MerchantNotFound,
    MerchantTaken,
    Onboarded,
    onboard_merchant,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
async def platform(database: Database, secrets: MasterKeys) -> None:
    async with database.transaction() as tx:
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=NOON)


@pytest.fixture(scope="module")
async def tea(platform: None, database: Database, secrets: MasterKeys) -> Onboarded:
    async with database.transaction() as tx:
        return await onboard_merchant(tx, "Tea Shop", secrets=secrets, wall_now=NOON, fee_rate_bp=38)


@pytest.fixture(scope="module")
async def coffee(platform: None, database: Database, secrets: MasterKeys) -> Onboarded:
    async with database.transaction() as tx:
        return await onboard_merchant(
            tx, "Coffee Shop", secrets=secrets, wall_now=NOON + timedelta(days=1), key_mode=KeyMode.PUBLIC_KEY
        )


async def test_a_merchant_gets_everything_in_one_step(database: Database, tea: Onboarded, secrets: MasterKeys) -> None:
    merchant, app = tea.merchant, tea.app
    assert re.fullmatch(r"16[0-9]{8}", merchant.number)
    assert (merchant.name, merchant.fee_rate_bp, merchant.key_mode) == ("Tea Shop", 38, KeyMode.CERTIFICATE)
    assert re.fullmatch(r"wx[0-9a-f]{16}", app.appid)
    assert re.fullmatch(r"[A-Za-z0-9]{32}", tea.api_v3_key)
    async with database.transaction() as tx:
        assert await merchants.get_merchant(tx, merchant.id) == merchant
        assert await merchants.apps_of(tx, merchant.id) == [app]
        assert await merchants.list_apps(tx, [app.id, new_id()]) == [app]
        assert await merchants.api_v3_key(tx, merchant.id, secrets=secrets) == tea.api_v3_key.encode()


async def test_its_public_key_is_named_as_the_wire_names_them_and_never_expires(
    tea: Onboarded, secrets: MasterKeys
) -> None:
    key = tea.public_key
    assert re.fullmatch(r"PUB_KEY_ID_01[0-9]{26}", key.id)
    assert (key.certificate, key.not_after) == (None, None)
    signature = key.signer(secrets).sign_now(b"answer")
    assert crypto.Verifier(crypto.parse_public_key(key.public_key.encode())).verify(b"answer", signature)


async def test_nothing_is_shared_between_merchants(tea: Onboarded, coffee: Onboarded) -> None:
    assert tea.merchant.id != coffee.merchant.id
    assert tea.merchant.number != coffee.merchant.number
    assert tea.app.appid != coffee.app.appid
    assert tea.api_v3_key != coffee.api_v3_key
    assert tea.public_key.public_key != coffee.public_key.public_key
    assert tea.platform_certificate == coffee.platform_certificate


async def test_merchants_are_found_by_number_id_and_name(database: Database, tea: Onboarded, coffee: Onboarded) -> None:
    async with database.transaction() as tx:
        for text in (tea.merchant.number, tea.merchant.text_id, "Tea Shop", f" {tea.merchant.number} "):
            assert await merchants.find_merchants(tx, text) == [tea.merchant]
        assert await merchants.find_merchants(tx, "Tea") == []
        assert await merchants.find_merchants(tx, coffee.merchant.text_id.replace("mch_", "per_")) == []
        assert await merchants.list_merchants(tx) == [tea.merchant, coffee.merchant]
        assert await merchants.list_merchants(tx, [coffee.merchant.id, new_id()]) == [coffee.merchant]
        assert await merchants.list_merchants(tx, []) == []


async def test_an_unknown_merchant_is_refused(database: Database) -> None:
    async with database.transaction() as tx:
        with pytest.raises(MerchantNotFound):
            await merchants.get_merchant(tx, new_id())
        with pytest.raises(MerchantNotFound):
            await merchants.set_key_mode(tx, MerchantId(new_id()), KeyMode.PUBLIC_KEY)


async def test_the_key_mode_can_be_chosen(database: Database, tea: Onboarded, coffee: Onboarded) -> None:
    async with database.transaction() as tx:
        await merchants.set_key_mode(tx, tea.merchant.id, KeyMode.PUBLIC_KEY)
        assert (await merchants.get_merchant(tx, tea.merchant.id)).key_mode is KeyMode.PUBLIC_KEY
        assert (await merchants.get_merchant(tx, coffee.merchant.id)).key_mode is KeyMode.PUBLIC_KEY
        await merchants.set_key_mode(tx, tea.merchant.id, KeyMode.CERTIFICATE)
        assert await merchants.get_merchant(tx, tea.merchant.id) == tea.merchant


@pytest.mark.parametrize(
    ("_case", "name"),
    [("nothing", " "), ("too long", "x" * 65), ("a new line", "Tea\nShop"), ("a null byte", "Tea\x00")],
)
async def test_unusable_names_are_refused(database: Database, secrets: MasterKeys, _case: str, name: str) -> None:
    async with database.transaction() as tx:
        with pytest.raises(MerchantNameInvalid):
            await onboard_merchant(tx, name, secrets=secrets, wall_now=NOON)


@pytest.mark.parametrize("fee_rate_bp", [-1, 10_001])
async def test_a_fee_is_a_part_of_the_amount(database: Database, secrets: MasterKeys, fee_rate_bp: int) -> None:
    async with database.transaction() as tx:
        with pytest.raises(FeeRateInvalid):
            await onboard_merchant(tx, "Tea Shop", secrets=secrets, wall_now=NOON, fee_rate_bp=fee_rate_bp)


async def test_merchants_that_come_at_once_get_numbers_of_their_own(
    platform: None, database: Database, secrets: MasterKeys
) -> None:
    async def onboard() -> Onboarded:
        async with database.transaction() as tx:
            return await onboard_merchant(tx, "Crowd", secrets=secrets, wall_now=NOON)

    crowd = await asyncio.gather(*(onboard() for _ in range(5)))
    assert len({one.merchant.number for one in crowd}) == 5
    async with database.transaction() as tx:
        assert len(await merchants.find_merchants(tx, "Crowd")) == 5


async def test_one_that_was_named_beforehand_is_made_once(
    platform: None, database: Database, secrets: MasterKeys
) -> None:
    merchant_id = MerchantId(new_id())

    async def make() -> Onboarded:
        async with database.transaction() as tx:
            return await onboard_merchant(tx, "Once", secrets=secrets, wall_now=NOON, merchant_id=merchant_id)

    answers = await asyncio.gather(*(make() for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(answer, Onboarded) for answer in answers) == 1
    assert sum(isinstance(answer, MerchantTaken) for answer in answers) == 3
    async with database.transaction() as tx:
        assert (await merchants.get_merchant(tx, merchant_id)).name == "Once"


async def test_merchants_are_listed_by_the_page_and_by_what_is_searched_for(
    database: Database, tea: Onboarded, coffee: Onboarded
) -> None:
    async with database.transaction() as tx:

        async def ids(**wish: Any) -> list[str]:
            return [one.number for one in await merchants.list_newest_merchants(tx, **wish)]

        every = await ids(most=100)
        assert len(every) == await merchants.count_merchants(tx)
        assert every.index(coffee.merchant.number) < every.index(tea.merchant.number), "the newest first"
        assert await ids(text=" cOFFee ") == [coffee.merchant.number]
        assert await ids(text=tea.merchant.number[3:]) == [tea.merchant.number]
        assert await ids(text="%") == []
        first = (await merchants.list_newest_merchants(tx, most=1))[0]
        assert await ids(before=(first.created_at, first.id), most=100) == every[1:]
