"""Scan: what is typed leads to a page of this site, or nowhere."""

import re
from typing import Any

import pytest

from dewpond.kit.ids import new_id, to_text
from web.counters import Counter


@pytest.fixture
async def phone(visitors: Any, new_person: Any) -> Any:
    return await visitors.person(await new_person("Alice"))


@pytest.fixture
async def counter(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant())


async def test_only_the_scanners_page_may_decode(phone: Any) -> None:
    for answer in (await phone.get("/scan"), await phone.send_form("/scan", code="https://evil.example")):
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self' 'wasm-unsafe-eval'" in policy
        assert "unsafe-inline" not in policy
        assert "camera=(self)" in answer.headers["permissions-policy"]
    assert "wasm" not in (await phone.get("/")).headers["content-security-policy"]


async def test_a_picture_is_chosen_by_a_button_that_says_so(phone: Any) -> None:
    label = re.search(r"<label class=\"button[^>]*>(.*?)</label>", (await phone.get("/scan")).text, re.S)
    assert label is not None
    assert "data-scan-picture" in label[1]
    assert "<span>Choose a picture</span>" in label[1]


async def test_codes_and_links_of_ours_are_opened(phone: Any, counter: Counter) -> None:
    payment, poster = (await counter.ask()).code, (await counter.put_up()).code
    closed = await counter.ask()
    await counter.close(closed)
    sign_in = to_text("scn", new_id())
    port = phone.origin.rpartition(":")[2]
    for typed, path in {
        payment: f"/q/{payment}",
        f"  {payment}\n": f"/q/{payment}",
        closed.code: f"/q/{closed.code}",
        poster: f"/m/{poster}",
        sign_in: f"/s/{sign_in}",
        f"{phone.origin}/q/{payment}": f"/q/{payment}",
        f"{phone.origin}/m/{poster}?from=paper#x": f"/m/{poster}",
        f"HTTP://LOCALHOST:{port}/q/{payment}": f"/q/{payment}",
        f"{phone.origin}/s/{sign_in}": f"/s/{sign_in}",
        f"weixin://wxpay/bizpayurl?pr={payment}": f"/q/{payment}",
        f"weixin://wxpay/bizpayurl/up?pr={payment}": f"/q/{payment}",
    }.items():
        answer = await phone.send_form("/scan", code=typed)
        assert (answer.status_code, answer.headers.get("location")) == (303, path), typed


@pytest.mark.parametrize(
    "typed",
    [
        "https://evil.example/q/abc",
        "//evil.example/q/abc",
        "/q/abc",
        "/\\evil.example",
        "javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "OWN/history",
        "OWN/",
        "OWN/q/",
        "OWN/q/a/b",
        "OWN/q/..%2fhistory",
        "OWN/q/../history",
        "OWN//evil.example/q/x",
        "OWN@evil.example/q/x",
        "OWN.evil.example/q/x",
        "OWN:1/q/x",
        "http://localhost/q/x",
        "http://localhost:1/q/x",
        "http://localhost:99999999/q/x",
        "http://[::1/q/x",
        "https://user:secret@localhost/q/x",
        "weixin://wxpay/bizpayurl?pr=../history",
        "weixin://wxpay/bizpayurl?pr=a&next=//evil.example",
        "weixin://dl/business",
        "not a code",
        "付款码",
        "",
        "x" * 129,
        "x" * 20_000,
        "a\r\nLocation: https://evil.example",
    ],
)
async def test_nothing_else_is_opened(phone: Any, typed: str) -> None:
    answer = await phone.send_form("/scan", code=typed.replace("OWN", phone.origin))
    assert answer.status_code == 422, answer.headers
    assert "location" not in answer.headers
    assert "Nothing was opened." in answer.text
    assert "<script>alert" not in answer.text


async def test_an_unknown_code_is_told_from_a_foreign_text(phone: Any) -> None:
    answer = await phone.send_form("/scan", code="nobody-has-this")
    assert (answer.status_code, "This code leads to no payment" in answer.text) == (404, True)
    assert 'value="nobody-has-this"' in answer.text  # what was typed is not lost


async def test_scanning_wants_somebody_signed_in(visitors: Any) -> None:
    stranger = visitors.stranger()
    assert (await stranger.get("/scan")).headers["location"] == "/sign-in?next=/scan"
    answer = await stranger.send_form("/scan", code="x", headers={"referer": f"{stranger.origin}/scan"})
    assert answer.headers["location"] == "/sign-in?next=/scan"
