"""Printed codes: made, listed, drawn as a poster that a printer's shop can take, and taken down."""

import re
import xml.etree.ElementTree as xml
from typing import Any

import msgspec
import pytest
import segno

from dewpond.kit import worlds
from dewpond.kit.db import Database
from dewpond.merchants import Role
from dewpond.web.console.posters import fit
from web.notes import onward
from web.tills import Till

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea <b>&\"' 茶铺"))


@pytest.fixture
async def owner(till: Till, visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member(shop=till.shop))


def dark_modules(path: str) -> set[tuple[int, int]]:
    return {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path)}


async def test_a_code_is_made_and_leads_to_the_shop(till: Till, owner: Any, visitors: Any, new_person: Any) -> None:
    assert "No code yet" in (await owner.get(f"{till.path}/codes")).text
    made = await owner.send_form(f"{till.path}/codes", title="Counter <i>")
    assert made.status_code == 303
    poster = made.headers["location"]
    assert poster.startswith(f"{till.path}/codes/")
    text = (await owner.get(poster)).text
    assert "Counter &lt;i&gt;" in text
    link = re.search(r"http://localhost:\d+/m/[\w-]+", text)
    assert link
    assert "Counter &lt;i&gt;" in (await owner.get(f"{till.path}/codes")).text
    phone = await visitors.person(await new_person("Alice", "50.00"))
    shown = await phone.get(link[0].partition("/m/")[1] + link[0].partition("/m/")[2])
    assert shown.status_code == 200
    assert "Tea &lt;b&gt;" in shown.text


@pytest.mark.parametrize("title", ["", "   ", "x" * 65, "two\nlines", "turned \u202e round", "half \ud800"])
async def test_titles_that_cannot_be_read_are_refused_on_the_page(till: Till, owner: Any, title: str) -> None:
    answer = await owner.post(
        f"{till.path}/codes",
        content=b"title=" + title.encode("utf-8", "surrogatepass").replace(b"\n", b"%0A"),
        headers={"origin": owner.origin, "content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 422
    assert "No code yet" in (await owner.get(f"{till.path}/codes")).text


@pytest.mark.parametrize(
    "title",
    [
        "Counter",
        "窗口二号",
        "</text><script>alert(1)</script>",
        "]]><!-- & &amp; \"'",
        "一" * 64,
        "W" * 64,
        "long word " * 6,
        "WWWWWWWWWW " * 5 + "WWWWWWWWW",
        "WWWWWWWWWWWW " * 4 + "WWWWWWWWWWWW",
        "👩‍👩‍👧‍👦 family, 4️⃣ persons",
        "e\u0301" * 32,
        "{{ 7 * 7 }} {% raw %}",
    ],
)
async def test_a_poster_is_sound_whatever_it_is_called(till: Till, owner: Any, title: str) -> None:
    poster = (await owner.send_form(f"{till.path}/codes", title=title)).headers["location"]
    answer = await owner.get(f"{poster}/poster.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert "attachment" in answer.headers["content-disposition"]
    root = xml.fromstring(answer.content)  # noqa: S314 - our own answer
    assert (root.tag, root.get("width"), root.get("height")) == (f"{SVG}svg", "148mm", "210mm")
    assert not list(root.iter(f"{SVG}script"))
    texts = ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]
    told = "".join(texts).replace(" ", "")
    for part in (title.strip(), till.shop.merchant.name, "扫码支付", "Scan to pay"):
        assert part.replace(" ", "") in told, part
    link = "".join(root.find(f"{SVG}desc").itertext())  # type: ignore[union-attr] # there is one
    assert link.endswith(poster.rpartition("/")[2])
    [code] = [one for one in root.iter(f"{SVG}path") if one.get("id") == "code"]
    wanted = segno.make(link, error="q", micro=False)
    assert dark_modules(code.get("d", "")) == {
        (x, y) for y, row in enumerate(wanted.matrix) for x, is_dark in enumerate(row) if is_dark
    }


@pytest.mark.parametrize(
    ("text", "sizes", "lines"),
    [
        ("Tea Shop", ((150, 1), (100, 2)), ("Tea Shop",)),
        ("one two three four", ((600, 1), (300, 4)), ("one", "two", "three", "four")),
        ("一二三四五六", ((400, 2),), ("一二三", "四五六")),
        ("一二三，四五", ((400, 3),), ("一二", "三，四", "五")),
        ("Lantern Tea 灯笼茶铺", ((124, 2),), ("Lantern Tea", "灯笼茶铺")),
        ("", ((100, 1),), ("",)),
    ],
)
def test_text_is_set_in_the_largest_size_that_fits(
    text: str, sizes: tuple[tuple[int, int], ...], lines: tuple[str, ...]
) -> None:
    assert fit(text, sizes).lines == lines


async def test_a_code_that_was_taken_down_is_no_poster_any_more(till: Till, owner: Any) -> None:
    poster = (await owner.send_form(f"{till.path}/codes", title="Terrace")).headers["location"]
    assert onward(await owner.send_form(f"{poster}/end")) == (303, f"{till.path}/codes", "saved")
    for path in (poster, f"{poster}/poster.svg"):
        assert (await owner.get(path)).status_code == 409
    text = (await owner.get(f"{till.path}/codes")).text
    assert "Taken down" in text
    assert f'href="{poster}"' not in text


async def test_codes_of_other_shops_do_not_exist(
    till: Till, owner: Any, visitors: Any, new_member: Any, new_merchant: Any
) -> None:
    elsewhere = await new_merchant("Bakery")
    stranger = await visitors.member(await new_member("Eve", shop=elsewhere))
    standing = (await owner.send_form(f"{till.path}/codes", title="Counter")).headers["location"]
    ended = (await owner.send_form(f"{till.path}/codes", title="Old")).headers["location"]
    await owner.send_form(f"{ended}/end")
    for poster in (standing, ended, f"{till.path}/codes/none"):
        theirs = poster.replace(till.path, f"/m/{elsewhere.merchant.number}")
        for path in (theirs, f"{theirs}/poster.svg"):
            assert (await stranger.get(path)).status_code == 404, path
        assert (await stranger.send_form(f"{theirs}/end")).status_code == 404
        assert (await stranger.get(poster)).status_code == 404
    assert (await owner.get(standing)).status_code == 200


async def test_cashiers_print_codes_and_analysts_do_not(till: Till, visitors: Any, new_member: Any) -> None:
    cashier = await visitors.member(await new_member("Cas", shop=till.shop, role=Role.CASHIER))
    analyst = await visitors.member(await new_member("Ana", shop=till.shop, role=Role.ANALYST))
    assert (await cashier.send_form(f"{till.path}/codes", title="Counter")).status_code == 303
    assert (await analyst.send_form(f"{till.path}/codes", title="Counter")).status_code == 403


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_both_languages(till: Till, owner: Any, visitors: Any, new_member: Any, language: str) -> None:
    poster = (await owner.send_form(f"{till.path}/codes", title="Counter")).headers["location"]
    client = await visitors.member(await new_member(shop=till.shop), headers={"accept-language": language})
    for path in (f"{till.path}/codes", poster):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert f'<html lang="{language}"' in answer.text


@pytest.mark.parametrize(("url", "is_near"), [("http://localhost:8602", True), ("https://pay.example", False)])
async def test_a_code_that_no_phone_can_open_says_so(
    till: Till, owner: Any, database: Database, url: str, is_near: bool
) -> None:
    async with database.transaction() as tx:
        world = await worlds.get_world(tx)
        await worlds.set_doors(tx, msgspec.structs.replace(world.doors, public_url=url))
    try:
        said = "These codes open in this computer" in (await owner.get(f"{till.path}/codes")).text
    finally:
        async with database.transaction() as tx:
            await worlds.set_doors(tx, world.doors)
    assert said is is_near
