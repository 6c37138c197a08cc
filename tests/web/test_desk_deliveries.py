"""All merchants' deliveries at the desk: by state, each with its attempts, told again."""

import re
from typing import Any

import pytest

from dewpond import openplatform
from dewpond.kit import worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.openplatform import Delivery, DeliveryStatus
from dewpond.worker import advance, drain
from web.desks import fact, plain, sell
from web.notes import onward


@pytest.fixture
async def operator(visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member("Olga", is_operator=True))


@pytest.fixture
async def told(house: Any, database: Database, new_merchant: Any, new_person: Any) -> Delivery:
    """A delivery whose first attempt has failed: nobody listens there."""
    shop, alice = await new_merchant(f"Tea & {new_id().hex[-4:]}"), await new_person("Alice", "50.00")
    await sell(house, database, shop, alice, "18.00", notify_url="http://127.0.0.1:9/<b>none</b>")
    await drain(house)
    async with database.transaction() as tx:
        (delivery,) = await openplatform.list_deliveries(tx, merchant_id=shop.merchant.id)
    return delivery


def text_id(delivery: Delivery) -> str:
    return openplatform.to_text(delivery.id)


async def test_each_state_has_its_list(
    operator: Any, house: Any, database: Database, told: Delivery, new_merchant: Any
) -> None:
    async def shown(status: str) -> str:
        return str((await operator.get(f"/desk/deliveries?status={status}")).text)

    assert text_id(told) in await shown("")
    assert text_id(told) in await shown("pending")
    assert "Failing" in await shown("pending")
    assert text_id(told) not in await shown("delivered")
    assert text_id(told) not in await shown("dead")
    async with database.transaction() as tx:
        await worlds.freeze_clock(tx, wall_now=(await worlds.read_clocks(tx)).wall)
        begin = (await worlds.read_clocks(tx)).world
    await advance(house, begin.replace(year=begin.year + 1))
    assert text_id(told) in await shown("dead")
    assert "Nothing waits" in await shown("pending")
    assert "<b>none" not in await shown("dead")
    async with database.transaction() as tx:
        counts = await openplatform.count_deliveries(tx)
        await worlds.thaw_clock(tx, wall_now=(await worlds.read_clocks(tx)).wall)
    assert (counts.waiting, counts.failing) == (0, 0)
    assert counts.dead >= 1


@pytest.mark.parametrize("query", ["status=nonsense", "before=nonsense", "status=dead&before=1"])
async def test_a_wish_that_makes_no_sense_is_left_out(operator: Any, query: str) -> None:
    assert (await operator.get(f"/desk/deliveries?{query}")).status_code == 200


async def test_each_attempt_is_shown_as_it_was(operator: Any, database: Database, told: Delivery) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute(
            "insert into openplatform.delivery_attempts (merchant_id, delivery_id, id, number, attempted_at,"
            " recorded_at, elapsed_ms, http_status, outcome, answer)"
            " values ($1, $2, $3, 2, $4, $4, 1234, 500, $5, $6)",
            told.merchant_id,
            told.id,
            new_id(),
            told.created_at,
            "answered 500 <i>here</i>",
            '{"code": "FAIL"}<script>alert(1)</script>',
        )
    text = (await operator.get(f"/desk/deliveries/{text_id(told)}")).text
    assert "<script>alert" not in text
    assert "<i>here" not in text
    assert "HTTP 500" in text
    assert "1,234 ms" in text
    assert '{"code": "FAIL"}' in plain(text).replace("&#34;", '"')
    assert "Tea" in fact(text, "Merchant")
    assert fact(text, "State") == "Failing", "as in the list"


async def test_one_is_told_again(operator: Any, house: Any, database: Database, told: Delivery) -> None:
    path = f"/desk/deliveries/{text_id(told)}"
    answer = await operator.send_form(f"{path}/attempts")
    assert onward(answer) == (303, f"{path}", "sent-again")
    await drain(house)
    async with database.transaction() as tx:
        assert len(await openplatform.list_attempts(tx, told.merchant_id, told.id)) == 2


@pytest.mark.parametrize("text", ["dlv_00000000000000000000000001", "nonsense", "pay_00000000000000000000000001"])
async def test_there_is_no_such_delivery(operator: Any, text: str) -> None:
    assert (await operator.get(f"/desk/deliveries/{text}")).status_code == 404
    assert (await operator.send_form(f"/desk/deliveries/{text}/attempts")).status_code == 404


async def test_pages_follow_each_other(
    operator: Any, house: Any, database: Database, new_merchant: Any, new_person: Any
) -> None:
    shop, alice = await new_merchant("Tea Shop"), await new_person("Alice", "500.00")
    for _ in range(51):
        await sell(house, database, shop, alice, "0.01")
    await drain(house)
    seen: list[str] = []
    for status in ("", "pending"):
        path, seen = f"/desk/deliveries?status={status}", []
        for _ in range(2):
            text = (await operator.get(path)).text
            seen += re.findall(r'href="/desk/deliveries/(dlv_\w+)"', text)
            more = re.search(r'href="(/desk/deliveries\?[^"]*before=[^"]*)"', text)
            path = more[1].replace("&amp;", "&") if more else ""
        assert len(seen) == len(set(seen)) >= 51
    async with database.transaction() as tx:
        own = await openplatform.list_deliveries(tx, merchant_id=shop.merchant.id, most=100)
        pending = await openplatform.list_newest_deliveries(tx, status=DeliveryStatus.PENDING, most=500)
    assert {text_id(one) for one in own} <= set(seen)
    assert pending == sorted(pending, key=lambda one: one.id, reverse=True)


async def test_a_search_that_takes_too_long_says_so(operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dewpond.web.desk.deliveries._SEARCH_SECONDS", 0.0)
    answer = await operator.get("/desk/deliveries?status=dead")
    assert answer.status_code == 200
    assert "too many deliveries to look through" in answer.text
