"""The journal of what staff did: every deed of the desk and the consoles is in it, and who reads what of it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dewpond import merchants, web
from dewpond.kit.clock import Now
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.merchants import Act, Deed, Role
from dewpond.web import acts
from web.desks import hidden, plain
from web.tills import Till

#: Forms of the staff's site that leave nothing behind that somebody else would want to read about.
SILENT = {("desk.people", "find"), ("desk.health", "add_up")}
#: Somebody's own way in, and their own account.
OWN = {"console.sign_in", "console.doorway", "console.proofs"}


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def mei(till: Till, new_member: Any) -> Any:
    return await new_member("Mei", shop=till.shop)


@pytest.fixture
async def owner(mei: Any, visitors: Any) -> Any:
    return await visitors.member(mei)


@pytest.fixture
async def olga(new_member: Any) -> Any:
    return await new_member("Olga", is_operator=True)


@pytest.fixture
async def operator(visitors: Any, olga: Any) -> Any:
    return await visitors.member(olga)


async def written(database: Database, **asked: Any) -> list[Act]:
    async with database.transaction() as tx:
        return await merchants.list_acts(tx, **asked)


def told(acts_: list[Act]) -> list[tuple[Deed, str, str]]:
    return [(act.deed, act.subject, act.detail) for act in acts_]


def rows(text: str) -> list[str]:
    """What a reader sees of each row."""
    return [plain(row) for row in re.findall(r'<li class="row">(.*?)</li>', text, re.S)]


# --- nothing is forgotten ---------------------------------------------------------------------------------------------


def posts() -> Iterator[tuple[str, ast.AsyncFunctionDef, str]]:
    """Every form of the desk and the consoles: its module, its handler, and all that the handler calls there."""
    for path in sorted(p for area in ("desk", "console") for p in (Path(web.__file__).parent / area).glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {one.name: one for one in tree.body if isinstance(one, ast.AsyncFunctionDef)}
        for one in functions.values():
            if any(ast.unparse(mark).startswith("post(") for mark in one.decorator_list):
                called = {node.id for node in ast.walk(one) if isinstance(node, ast.Name)}
                text = "\n".join(ast.unparse(functions[name]) for name in {one.name, *called} & functions.keys())
                yield f"{path.parent.name}.{path.stem}", one, text


def test_every_form_writes_down_what_it_does() -> None:
    found = list(posts())
    assert len(found) > 35
    silent = {
        (module, one.name) for module, one, text in found if "note_act(" not in text and "record_act(" not in text
    }
    assert {(module, name) for module, name in silent if module not in OWN} == SILENT


def test_every_deed_is_said_in_words() -> None:
    assert set(acts._SENTENCES) == set(Deed)


# --- the desk ---------------------------------------------------------------------------------------------------------


async def test_operators_are_invited_and_removed(operator: Any, olga: Any, database: Database, visitors: Any) -> None:
    name = f"anna-{new_id().hex[-6:]}"
    link = await operator.send_form("/desk/staff", name="Anna <b>", sign_in_name=name)
    async with database.transaction() as tx:
        anna = await merchants.find_by_sign_in_name(tx, name)
    assert anna is not None
    assert anna.invited_by == olga.id
    await operator.send_form(f"/desk/staff/{anna.text_id}/invitation")
    stale = re.findall(r'data-copy="http://localhost:\d+(/invitations/[^"]+)"', link.text)[0]
    assert (await visitors.stranger("staff").get(stale)).status_code == 404
    await operator.send_form(f"/desk/staff/{anna.text_id}/end")
    [ended, again, invited] = await written(database, staff_id=olga.id)
    assert told([ended, again, invited]) == [
        (Deed.STAFF_ENDED, anna.text_id, ""),
        (Deed.LINK_MADE, anna.text_id, ""),
        (Deed.STAFF_INVITED, anna.text_id, "operator"),
    ]
    assert {(act.address, act.merchant_id) for act in (ended, again, invited)} == {("127.0.0.1", None)}
    page = (await operator.get(f"/desk/journal?by={olga.text_id}")).text
    seen = rows(page)
    assert len(seen) == 3
    assert "Removed Anna &lt;b&gt;" in seen[0]
    assert "Created a new sign-in link for Anna" in seen[1]
    assert "Invited Anna &lt;b&gt; (Operator)" in seen[2]
    assert all("127.0.0.1" in row and "Olga" in row for row in seen)
    assert "<b>" not in page


async def test_coming_in_by_a_link_is_written_down(operator: Any, database: Database, visitors: Any) -> None:
    answer = await operator.send_form("/desk/staff", name="Ben", sign_in_name=f"ben-{new_id().hex[-6:]}")
    [path] = re.findall(r'data-copy="http://localhost:\d+(/invitations/[^"]+)"', answer.text)
    client = visitors.stranger("staff")
    for password in ("short", "a long password"):
        await client.send_form(path, password=password, again=password)
    [act, *_] = await written(database)
    assert (act.deed, act.address) == (Deed.CAME_IN, "127.0.0.1")
    assert act.staff_id is not None
    assert "Set a password by an invitation link" in rows((await client.get("/desk/journal")).text)[0]


async def test_a_merchant_is_taken_in_and_looked_after(operator: Any, olga: Any, database: Database) -> None:
    name, key = f"owner-{new_id().hex[-6:]}", str(new_id())
    given = {"key": key, "name": "Bakery", "owner_sign_in_name": name, "owner_name": "Bo", "fee_rate": "0.60"}
    for _ in range(2):
        await operator.send_form("/desk/merchants", **given)
    async with database.transaction() as tx:
        owner = await merchants.find_by_sign_in_name(tx, name)
        assert owner is not None
        [(shop, _)] = await merchants.roles_of(tx, owner.id)
    path = f"/desk/merchants/{shop.number}"
    await operator.send_form(f"{path}/key-mode", key_mode="public_key")
    await operator.send_form(f"{path}/staff/{owner.text_id}/invitation")
    assert (await operator.send_form(f"{path}/certificates/{'A' * 40}/revocation")).status_code == 404
    assert told(await written(database, merchant_id=shop.id)) == [
        (Deed.LINK_MADE, owner.text_id, ""),
        (Deed.KEY_MODE_CHOSEN, "", "public_key"),
        (Deed.STAFF_INVITED, owner.text_id, "owner"),
        (Deed.MERCHANT_MADE, "", ""),
    ]
    seen = rows((await operator.get(f"/desk/journal?merchant={shop.number}&by={olga.sign_in_name}")).text)
    assert "Changed the key that signs to: Platform public key" in seen[1]
    assert "Invited Bo (Owner)" in seen[2]
    assert all("Bakery" in row for row in seen)


async def test_money_put_in_is_written_down_once(operator: Any, olga: Any, database: Database, new_person: Any) -> None:
    alice = await new_person("Alice")
    path = f"/desk/people/{alice.text_id}"
    key = hidden((await operator.get(path)).text, "key")
    for _ in range(3):
        await operator.send_form(f"{path}/top-ups", key=key, amount="1280.50", reason="cash")
    assert (await operator.send_form(f"{path}/top-ups", key=key, amount="1.00", reason="cash")).status_code == 409
    await operator.send_form(f"{path}/sessions/end")
    done = told(await written(database, staff_id=olga.id))
    assert [act for act in done if act[0] is not Deed.PERSON_SEEN] == [
        (Deed.SESSIONS_ENDED, alice.text_id, ""),
        (Deed.TOP_UP_MADE, alice.text_id, "1,280.50 CNY"),
    ]
    text = (await operator.get(f"/desk/journal?by={olga.text_id}")).text
    assert "Topped up a wallet with ¥1,280.50" in rows(text)[1]
    assert f'href="{path}"' in text
    assert "Alice" not in text, "people are not listed here either"


async def test_who_looked_at_whom_is_written_down(
    operator: Any, olga: Any, database: Database, new_person: Any
) -> None:
    alice, ben = await new_person("Alice"), await new_person("Ben")
    for path in ("/desk/people/", "/desk/ledger?owner=", "/desk/people/"):
        assert (await operator.get(path + alice.text_id)).status_code == 200
    await operator.get(f"/desk/ledger?owner={ben.number}")
    await operator.get(f"/desk/people/{ben.text_id}x")
    seen = told(await written(database, staff_id=olga.id))
    # Once an hour for each; an hour may end in between.
    assert list(dict.fromkeys(seen)) == [
        (Deed.PERSON_SEEN, ben.text_id, ""),
        (Deed.PERSON_SEEN, alice.text_id, ""),
    ]
    assert len(seen) <= 3
    page = (await operator.get(f"/desk/journal?by={olga.text_id}")).text
    assert "Looked at a person's account" in plain(page).replace("&#39;", "'")


async def test_the_clock_and_the_books(operator: Any, olga: Any, database: Database) -> None:
    await operator.send_form("/desk/clock/freeze")
    try:
        key = str(new_id())
        for _ in range(2):
            await operator.send_form("/desk/clock/moves", key=key, count="3", unit="hours")
        assert (
            await operator.send_form("/desk/clock/moves", key=str(new_id()), count="0", unit="hours")
        ).status_code == 422
        await operator.send_form("/desk/clock/moves/stop")
        await operator.send_form("/desk/clock/moves/stop")
    finally:
        await operator.send_form("/desk/clock/thaw")
    await operator.send_form("/desk/ledger/checks", key=str(new_id()))
    await operator.send_form("/desk/ledger/checks/stop")
    done = await written(database, staff_id=olga.id)
    assert [act.deed for act in reversed(done)] == [
        Deed.CLOCK_FROZEN,
        Deed.CLOCK_MOVED,
        Deed.CLOCK_STOPPED,
        Deed.CLOCK_THAWED,
        Deed.BOOK_CHECKED,
        Deed.BOOK_CHECK_STOPPED,
    ]
    text = (await operator.get(f"/desk/journal?by={olga.text_id}")).text
    assert re.search(r"Moved the clock to \w+ \d+, \d{4}", text)
    chinese = (await operator.get("/desk/journal", headers={"accept-language": "zh-CN"})).text
    assert 'lang="zh-CN"' in chinese


@pytest.mark.parametrize(
    ("_case", "query", "status", "shows"),
    [
        ("nobody", "by=nobody-at-all", 200, "There are no entries"),
        ("no such id", "by=stf_00000000000000000000000001", 200, "There are no entries"),
        ("no such merchant", "merchant=1", 200, "There are no entries"),
        ("no place", "before=nonsense", 200, "Journal"),
        ("an absurd place", "before=99999999999999999999999", 200, "Journal"),
        ("the beginning", "before=0", 200, "No entries yet"),
        ("markup", "by=<script>alert(1)</script>", 200, "There are no entries"),
    ],
)
async def test_what_is_asked_amiss(operator: Any, _case: str, query: str, status: int, shows: str) -> None:
    answer = await operator.get(f"/desk/journal?{query}")
    assert answer.status_code == status
    assert shows in answer.text
    assert "<script>alert" not in answer.text


async def test_pages_follow_each_other(operator: Any, olga: Any, database: Database, till: Till) -> None:
    now = await till.now()
    async with database.transaction() as tx:
        for number in range(120):
            subject = f"code-{number:03d}"
            await merchants.record_act(
                tx, Deed.CODE_ENDED, by=olga.id, now=now, merchant_id=till.shop.merchant.id, subject=subject
            )
    path, seen = f"/desk/journal?by={olga.sign_in_name}&merchant={till.shop.merchant.number}", []
    for _ in range(3):
        text = (await operator.get(path)).text
        seen += re.findall(r"code-(\d{3})", text)
        more = re.search(r'href="(/desk/journal\?[^"]*before=[^"]*)"', text)
        path = more[1].replace("&amp;", "&") if more else ""
    assert seen == [f"{number:03d}" for number in reversed(range(120))]
    assert path == ""


async def test_who_has_left_is_found_by_name(operator: Any, new_member: Any, visitors: Any, database: Database) -> None:
    gone = await new_member("Gone", is_operator=True)
    await (await visitors.member(gone)).send_form("/desk/ledger/checks", key=str(new_id()))
    await operator.send_form("/desk/ledger/checks/stop")
    await operator.send_form(f"/desk/staff/{gone.text_id}/end")
    text = (await operator.get(f"/desk/journal?by={gone.sign_in_name.upper()}")).text
    assert "What Gone did" in plain(text)
    assert "Started a full check" in text


# --- the console ------------------------------------------------------------------------------------------------------


async def test_what_is_done_in_a_shop(
    till: Till, owner: Any, mei: Any, visitors: Any, database: Database, new_person: Any, new_member: Any
) -> None:
    root, bo = till.path, await new_member("Bo", shop=till.shop, role=Role.CASHIER)
    name = f"jun-{new_id().hex[-6:]}"
    await owner.send_form(f"{root}/staff", sign_in_name=name, name="Jun", role="cashier")
    async with database.transaction() as tx:
        jun = await merchants.find_by_sign_in_name(tx, name)
    assert jun is not None
    assert jun.invited_by == mei.id
    await owner.send_form(f"{root}/staff/{jun.text_id}/invitation")
    for role in ("analyst", "analyst"):
        await owner.send_form(f"{root}/staff/{jun.text_id}/role", role=role)
    await owner.send_form(f"{root}/staff/{jun.text_id}/end")
    await owner.send_form(f"{root}/key-mode", key_mode="certificate")
    drawn = hidden((await owner.get(f"{root}/keys")).text, "drawn_at")
    for _ in range(2):
        await owner.send_form(f"{root}/api-v3-key", drawn_at=drawn)
    made = await owner.send_form(f"{root}/codes", title="Counter & more")
    code = made.headers["location"].rpartition("/")[2]
    await owner.send_form(f"{root}/codes/{code}/end")
    serial = till.shop.certificate.serial
    await owner.send_form(f"{root}/certificates/{serial}/revocation")
    assert told(await written(database, merchant_id=till.shop.merchant.id)) == [
        (Deed.CERTIFICATE_REVOKED, serial, ""),
        (Deed.CODE_ENDED, code, ""),
        (Deed.CODE_MADE, code, "Counter & more"),
        (Deed.API_KEY_DRAWN, "", ""),
        (Deed.KEY_MODE_CHOSEN, "", "certificate"),
        (Deed.ROLE_ENDED, jun.text_id, ""),
        (Deed.ROLE_GIVEN, jun.text_id, "analyst"),
        (Deed.LINK_MADE, jun.text_id, ""),
        (Deed.STAFF_INVITED, jun.text_id, "cashier"),
    ]
    alice = await new_person("Alice", "50.00")
    paid = await till.sell(alice, "18.00")
    cashier, given = await visitors.member(bo), {"amount": "5.00", "key": str(new_id()), "reason": "cold"}
    for _ in range(2):
        await cashier.send_form(f"{root}/payments/{paid.text_id}/refunds", **given)
    [act, *rest] = await written(database, merchant_id=till.shop.merchant.id)
    assert (act.deed, act.subject, act.detail, act.staff_id) == (Deed.REFUND_MADE, paid.text_id, "5.00 CNY", bo.id)
    assert len(rest) == 9
    page = await owner.get(f"{root}/journal")
    seen = rows(page.text)
    assert len(seen) == 10
    assert "Refunded ¥5.00" in seen[0]
    assert "Bo" in seen[0]
    assert f'href="{root}/payments/{paid.text_id}"' in page.text
    assert "Created the printed code “Counter &amp; more”" in seen[3]
    assert "Changed the role of Jun to: Analyst" in seen[7]
    mine = rows((await owner.get(f"{root}/journal?by={bo.text_id}")).text)
    assert len(mine) == 1
    assert (await cashier.get(f"{root}/journal")).status_code == 403


async def test_an_operator_has_no_name_in_a_shops_journal(
    till: Till, owner: Any, operator: Any, olga: Any, database: Database
) -> None:
    await operator.send_form(f"/desk/merchants/{till.shop.merchant.number}/key-mode", key_mode="public_key")
    text = (await owner.get(f"{till.path}/journal")).text
    assert "The operator of this site" in rows(text)[0]
    for hers in ("Olga", olga.text_id, olga.sign_in_name):
        assert hers not in text
    assert "127.0.0.1" not in text
    answer = (await owner.get(f"{till.path}/journal?by={olga.text_id}")).text
    assert "There are no entries" in answer
    assert "Olga" not in answer


async def test_nobody_elses_journal_is_read(
    till: Till, owner: Any, mei: Any, visitors: Any, new_member: Any, new_merchant: Any
) -> None:
    bakery = await new_merchant("Bakery")
    eve = await new_member("Eve", shop=bakery)
    client = await visitors.member(eve)
    await owner.send_form(f"{till.path}/codes", title="Ours alone")
    await client.send_form(f"/m/{bakery.merchant.number}/codes", title="Theirs")
    assert (await client.get(f"{till.path}/journal")).status_code == 404
    for query in ("", f"?by={mei.text_id}"):
        text = (await client.get(f"/m/{bakery.merchant.number}/journal{query}")).text
        assert "Ours alone" not in text
        assert mei.name not in text
    for query in ("?by=nonsense", f"?by={eve.text_id}"):
        assert "There are no entries" in (await owner.get(f"{till.path}/journal{query}")).text


async def test_what_the_terminal_did_is_told_as_the_operators(till: Till, owner: Any, database: Database) -> None:
    now: Now = await till.now()
    async with database.transaction() as tx:
        merchant_id = till.shop.merchant.id
        await merchants.record_act(
            tx, Deed.KEY_MODE_CHOSEN, by=None, now=now, merchant_id=merchant_id, detail="certificate"
        )
    assert "The operator of this site" in rows((await owner.get(f"{till.path}/journal")).text)[0]


async def test_a_delivery_sent_again_is_written_down_by_both(
    till: Till, owner: Any, operator: Any, database: Database, new_person: Any
) -> None:
    await till.sell(await new_person("Alice", "50.00"))
    await till.settle()
    page = (await owner.get(f"{till.path}/deliveries")).text
    [delivery] = set(re.findall(r"dlv_\w{26}", page))
    await owner.send_form(f"{till.path}/deliveries/{delivery}/attempts")
    await operator.send_form(f"/desk/deliveries/{delivery}/attempts")
    expected = [(Deed.DELIVERY_RESENT, delivery, "")] * 2
    assert told(await written(database, merchant_id=till.shop.merchant.id)) == expected
