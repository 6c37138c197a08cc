"""Deliveries: what a shop's server was told, every attempt, and telling it again."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dewpond import openplatform
from dewpond.kit.ids import new_id
from dewpond.merchants import Role
from dewpond.pay import NewRequest
from web.notes import onward
from web.tills import Till

HOSTILE = b'{"code":"FAIL","message":"<script>alert(1)</script>"}'


@dataclass
class Server:
    """A shop's server: takes what it is told, and answers as it is set."""

    url: str
    status: int = 200
    told: list[bytes] = field(default_factory=list)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        shop.told.append(await reader.readexactly(int(length[1]) if length else 0))
        body = b"" if shop.status == 200 else HOSTILE
        head = b"HTTP/1.1 %d Said\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % (shop.status, len(body))
        writer.write(head + body)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0)
    shop = Server(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/notify?a=<b>")
    yield shop
    listening.close()


@dataclass(frozen=True)
class Told(Till):
    """A shop whose server wants to be told."""

    url: str = ""

    async def sell_and_tell(self, payer: Any, what: str = "Longjing") -> Any:
        paid = await self.sell(payer, what=what)
        await self.settle()
        return paid

    async def delivery_path(self, status: str | None = None) -> str:
        async with self.house.db.transaction() as tx:
            [newest, *_] = await openplatform.list_deliveries(tx, merchant_id=self.shop.merchant.id, status=status)
        return f"{self.path}/deliveries/{openplatform.to_text(newest.id)}"


@pytest.fixture
async def till(house: Any, new_merchant: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr("web.counters.NewRequest", lambda **given: NewRequest(**(given | {"notify_url": server.url})))
    return Told(house, await new_merchant("Tea Shop"), server.url)


@pytest.fixture
async def owner(till: Told, visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member(shop=till.shop))


async def test_what_was_told_is_shown_with_every_attempt(
    till: Told, owner: Any, server: Server, new_person: Any
) -> None:
    assert "No deliveries yet" in (await owner.get(f"{till.path}/deliveries")).text
    server.status = 500
    paid = await till.sell_and_tell(await new_person("Alice", "50.00"), "Tea <i>")
    listed = (await owner.get(f"{till.path}/deliveries")).text
    path = await till.delivery_path()
    for part in (path, "Payment succeeded", "Tea &lt;i&gt;", "/notify?a=&lt;b&gt;", "Waiting"):
        assert part in listed, part
    text = (await owner.get(path)).text
    for part in (
        "Answered 500",
        "Attempt 1",
        "&lt;script&gt;alert(1)",
        f"{till.path}/payments/{paid.text_id}",
        "The next attempt is due",
        "ciphertext",
    ):
        assert part in text, part
    assert "<script>alert" not in text
    shown = re.search(r'aria-label="The body, word for word"><code>(.*?)</code>', text, re.S)
    assert shown
    assert shown[1].replace("&#34;", '"') == server.told[0].decode()
    assert "Longjing" not in shown[1], "it is encrypted"


async def test_send_again_makes_an_attempt(till: Told, owner: Any, server: Server, new_person: Any) -> None:
    server.status = 500
    await till.sell_and_tell(await new_person("Alice", "50.00"))
    path = await till.delivery_path()
    server.status = 200
    answer = await owner.send_form(f"{path}/attempts", next="//evil.example")
    assert onward(answer) == (303, f"{path}", "sent-again")
    assert "Sent again" in (await owner.get(answer.headers["location"])).text
    await till.settle()
    assert server.told[0] == server.told[1]
    text = (await owner.get(path)).text
    assert "Attempt 2" in text
    assert "Delivered" in text
    back = await owner.send_form(f"{path}/attempts", next=f"{till.path}/payments")
    assert onward(back) == (303, f"{till.path}/payments", "sent-again")


async def test_deliveries_are_found_by_their_state(till: Told, owner: Any, server: Server, new_person: Any) -> None:
    alice = await new_person("Alice", "90.00")
    await till.sell_and_tell(alice, "Told")
    server.status = 404
    await till.sell_and_tell(alice, "Untold")
    for status, found in {"delivered": "Told", "pending": "Untold"}.items():
        text = (await owner.get(f"{till.path}/deliveries?status={status}")).text
        assert re.findall(r"¥18.00, (\w+)", text) == [found]
    assert "No delivery is in this state" in (await owner.get(f"{till.path}/deliveries?status=dead")).text
    for query in ("status=none", "before=x", "before=9999-12-31T23:59:59%2B00:00~x"):
        assert re.findall(r"¥18.00, (\w+)", (await owner.get(f"{till.path}/deliveries?{query}")).text) == [
            "Untold",
            "Told",
        ]


async def test_a_refund_is_told_with_the_payment_it_is_of(
    till: Told, owner: Any, server: Server, new_person: Any, house: Any
) -> None:
    from dewpond import pay
    from dewpond.pay import RefundRequest

    paid = await till.sell_and_tell(await new_person("Alice", "50.00"), "Cold tea")
    request = RefundRequest(
        merchant_id=paid.merchant_id,
        payment_id=paid.id,
        merchant_reference=f"r{new_id().hex}",
        amount=paid.amount,
        total=paid.amount,
        request_hash=b"x",
        notify_url=server.url,
    )
    async with house.db.transaction() as tx:
        await pay.request_refund(tx, request, now=await till.now())
    await till.settle()
    text = (await owner.get(f"{till.path}/deliveries")).text
    assert "Refund succeeded" in text
    assert re.findall(r"¥18.00, ([\w ]+)", text) == ["Cold tea", "Cold tea"]
    assert "Refund succeeded" in (await owner.get(await till.delivery_path())).text


async def test_deliveries_of_other_shops_do_not_exist(
    till: Told, owner: Any, server: Server, visitors: Any, new_member: Any, new_merchant: Any, new_person: Any
) -> None:
    await till.sell_and_tell(await new_person("Alice", "50.00"))
    path = await till.delivery_path()
    elsewhere = await new_merchant("Bakery")
    stranger = await visitors.member(await new_member("Eve", shop=elsewhere))
    theirs = path.replace(till.path, f"/m/{elsewhere.merchant.number}")
    for address in (path, theirs, theirs + "x", theirs.upper()):
        assert (await stranger.get(address)).status_code == 404
        assert (await stranger.send_form(f"{address}/attempts")).status_code == 404
    await till.settle()
    assert len(server.told) == 1
    for role in (Role.CASHIER, Role.ANALYST):
        client = await visitors.member(await new_member(role.value, shop=till.shop, role=role))
        assert (await client.get(path)).status_code == 403
        assert (await client.send_form(f"{path}/attempts")).status_code == 403
    assert (await owner.get(path)).status_code == 200


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_both_languages(till: Told, visitors: Any, new_member: Any, new_person: Any, language: str) -> None:
    await till.sell_and_tell(await new_person("Alice", "50.00"))
    client = await visitors.member(await new_member(shop=till.shop), headers={"accept-language": language})
    for path in (f"{till.path}/deliveries", await till.delivery_path()):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert f'<html lang="{language}"' in answer.text
