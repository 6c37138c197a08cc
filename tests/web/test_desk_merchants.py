"""Taking a merchant in: everything in one step, once, and what is secret shown once."""

import asyncio
import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from dewpond import ledger, merchants, pay
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY
from dewpond.merchants import KeyMode, Role
from dewpond.worker import drain
from web.accounts import claim
from web.desks import fact, figure, hidden, plain, sell
from web.notes import onward

NEW = "/desk/merchants/new"


@pytest.fixture
async def operator(visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member("Olga", is_operator=True))


def filled(**changed: str) -> dict[str, str]:
    told = {
        "key": str(new_id()),
        "name": "Blue Door Books",
        "fee_rate": "0.38",
        "key_mode": "certificate",
        "owner_sign_in_name": f"owner-{new_id().hex[-8:]}",
        "owner_name": "Ping",
    }
    return told | changed


def shown_key(text: str) -> str:
    keys = re.findall(r'data-copy="([A-Za-z0-9]{32})"', text)
    assert len(keys) == 1
    return str(keys[0])


def shown_token(text: str) -> str:
    links = re.findall(r'data-copy="http://localhost:\d+/invitations/([^"]+)"', text)
    assert len(links) == 1
    return str(links[0])


async def find_made(database: Database, text: str) -> merchants.Merchant:
    async with database.transaction() as tx:
        (found,) = [one for one in await merchants.list_newest_merchants(tx) if one.number in text]
    return found


async def test_a_merchant_begins_with_all_it_needs(operator: Any, database: Database, secrets: Any) -> None:
    form = (await operator.get(NEW)).text
    given = filled(key=hidden(form, "key"), name="  Blue <b>Door</b>  ")
    answer = await operator.send_form("/desk/merchants", **given)
    assert answer.status_code == 201
    assert "<b>" not in answer.text
    shop = await find_made(database, answer.text)
    assert (shop.name, shop.fee_rate_bp, shop.key_mode) == ("Blue <b>Door</b>", 38, KeyMode.CERTIFICATE)
    token = shown_token(answer.text)
    async with database.transaction() as tx:
        assert shown_key(answer.text).encode() == await merchants.api_v3_key(tx, shop.id, secrets=secrets)
        ((owner, role),) = await merchants.list_staff(tx, shop.id)
        assert (owner.name, owner.sign_in_name, role) == ("Ping", given["owner_sign_in_name"], Role.OWNER)
        assert not owner.is_operator
        assert await merchants.find_invited(tx, token, wall_now=clock.wall_now()) == owner
        assert (await ledger.get_balance(tx, pay.unsettled_of(shop.id, CNY))).posted == 0
    assert '<div class="qr__code" role="img"' in answer.text


async def test_what_is_secret_is_shown_once(operator: Any, database: Database) -> None:
    answer = await operator.send_form("/desk/merchants", **filled())
    secret, token = shown_key(answer.text), shown_token(answer.text)
    assert answer.headers["cache-control"] == "no-store"
    shop = await find_made(database, answer.text)
    for path in (
        "/desk",
        "/desk/merchants",
        f"/desk/merchants/{shop.number}",
        NEW,
        f"/desk/ledger?owner={shop.number}",
    ):
        text = (await operator.get(path)).text
        assert secret not in text
        assert token not in text


async def test_the_log_tells_who_did_it_and_nothing_secret(operator: Any) -> None:
    with capture_logs() as told:
        answer = await operator.send_form("/desk/merchants", **filled())
    acts = [one for one in told if one["event"] == "staff.act"]
    assert [one["deed"] for one in acts] == ["merchant_made", "staff_invited"]
    assert all(one["by"].startswith("stf_") for one in acts)
    for secret in (shown_key(answer.text), shown_token(answer.text)):
        assert secret not in repr(told)


async def test_the_same_form_makes_one_merchant(operator: Any, database: Database) -> None:
    async def count() -> int:
        async with database.transaction() as tx:
            return await merchants.count_merchants(tx)

    before, given = await count(), filled()
    answers = await asyncio.gather(*(operator.send_form("/desk/merchants", **given) for _ in range(4)))
    assert await count() == before + 1
    assert sorted(answer.status_code for answer in answers) == [201, 303, 303, 303]
    (made,) = [answer for answer in answers if answer.status_code == 201]
    shop = await find_made(database, made.text)
    again = await operator.send_form("/desk/merchants", **given)
    assert onward(again) == (303, f"/desk/merchants/{shop.number}", "merchant-made-before")
    assert shown_key(made.text) not in (await operator.get(again.headers["location"])).text


@pytest.mark.parametrize(
    ("_case", "changed", "said"),
    [
        ("no name", {"name": "   "}, "name has 1 to 64"),
        ("a long name", {"name": "x" * 65}, "name has 1 to 64"),
        ("no rate", {"fee_rate": ""}, "between 0 and 100"),
        ("words for a rate", {"fee_rate": "much"}, "between 0 and 100"),
        ("a negative rate", {"fee_rate": "-1"}, "between 0 and 100"),
        ("more than all", {"fee_rate": "100.01"}, "between 0 and 100"),
        ("a thousandth", {"fee_rate": "0.605"}, "between 0 and 100"),
        ("infinite", {"fee_rate": "Infinity"}, "between 0 and 100"),
        ("an exponent", {"fee_rate": "1e400"}, "between 0 and 100"),
        ("not a number", {"fee_rate": "nan"}, "between 0 and 100"),
        ("capitals and spaces", {"owner_sign_in_name": "Li Wei"}, "sign-in name has"),
        ("no sign-in name", {"owner_sign_in_name": ""}, "sign-in name has"),
        ("an owner of control characters", {"owner_name": "a\x07b"}, "name has 1 to 64"),
        ("somebody known who is not", {"is_known": "yes", "owner_sign_in_name": "nobody"}, "Nobody here signs in"),
    ],
)
async def test_a_refused_form_is_shown_again_and_makes_nothing(
    operator: Any, database: Database, _case: str, changed: dict[str, str], said: str
) -> None:
    async with database.transaction() as tx:
        before = await merchants.count_merchants(tx), len(await merchants.newest_staff_members(tx, most=1000))
    given = filled(**changed)
    answer = await operator.send_form("/desk/merchants", **given)
    assert answer.status_code in {404, 422}
    assert said in plain(answer.text)
    assert hidden(answer.text, "key") == given["key"]
    async with database.transaction() as tx:
        after = await merchants.count_merchants(tx), len(await merchants.newest_staff_members(tx, most=1000))
    assert after == before


@pytest.mark.parametrize(
    ("_case", "changed"),
    [
        ("a field too many", {"number": "1900000001"}),
        ("no key", {"key": ""}),
        ("a mode that is none", {"key_mode": "none"}),
    ],
)
async def test_a_form_that_is_none_of_ours_is_refused(operator: Any, _case: str, changed: dict[str, str]) -> None:
    assert (await operator.send_form("/desk/merchants", **filled(**changed))).status_code == 422


async def test_an_owner_of_another_shop_gets_this_one_too(operator: Any, database: Database, new_member: Any) -> None:
    known = await new_member("Mei")
    taken = await operator.send_form("/desk/merchants", **filled(owner_sign_in_name=known.sign_in_name))
    assert taken.status_code == 409
    assert "signs in with that name already" in taken.text
    await claim(database, known)
    given = filled(owner_sign_in_name=known.sign_in_name, is_known="yes")
    answer = await operator.send_form("/desk/merchants", **given)
    assert answer.status_code == 201
    assert "/invitations/" not in answer.text, "they have their own way in"
    async with database.transaction() as tx:
        assert [role for _, role in await merchants.roles_of(tx, known.id)] == [Role.OWNER]


async def test_the_list_is_searched_and_turned_over(operator: Any, new_merchant: Any) -> None:
    mark = new_id().hex[-6:]
    shops = [await new_merchant(f"Shop {n} {mark}") for n in range(52)]
    first = (await operator.get(f"/desk/merchants?q={mark}")).text
    assert shops[51].merchant.number in first
    assert shops[0].merchant.number not in first
    more = re.search(r'href="(/desk/merchants\?[^"]*before=[^"]*)"', first)
    assert more is not None
    second = (await operator.get(more[1].replace("&amp;", "&"))).text
    assert shops[0].merchant.number in second
    by_number = (await operator.get(f"/desk/merchants?q={shops[3].merchant.number}")).text
    assert f"Shop 3 {mark}" in by_number
    assert "Nothing found" in (await operator.get("/desk/merchants?q=%25")).text, "no wildcards"
    assert (await operator.get("/desk/merchants?before=nonsense")).status_code == 422


async def test_one_merchant_is_shown_with_what_it_holds(
    operator: Any, house: Any, database: Database, new_merchant: Any, new_person: Any
) -> None:
    shop, alice = await new_merchant("Tea & Co"), await new_person("Alice", "50.00")
    await sell(house, database, shop, alice, "18.00", "Longjing")
    await drain(house)
    text = (await operator.get(f"/desk/merchants/{shop.merchant.number}")).text
    assert figure(text, "Unsettled") == "¥17.89"
    assert figure(text, "Taken today") == "¥18.00"
    assert figure(text, "People in the pool") == "1"
    assert fact(text, "Fee") == "0.6%"
    assert shop.app.appid in text
    assert "Tea &amp; Co" in text
    assert "Alice" not in text, "whom it knows is the merchant's own"
    assert "Longjing" not in text


@pytest.mark.parametrize("number", ["1900000001", "Tea Shop", "x" * 300])
async def test_there_is_no_such_merchant(operator: Any, number: str) -> None:
    assert (await operator.get(f"/desk/merchants/{number}")).status_code in {404, 422}


async def test_a_certificate_is_revoked_for_its_merchant_only(
    operator: Any, database: Database, new_merchant: Any
) -> None:
    shop, other = await new_merchant("Tea Shop"), await new_merchant("Other")
    path = "/desk/merchants/{}/certificates/{}/revocation"
    foreign = await operator.send_form(path.format(other.merchant.number, shop.certificate.serial))
    assert foreign.status_code == 404
    answer = await operator.send_form(path.format(shop.merchant.number, shop.certificate.serial))
    assert answer.status_code == 303
    async with database.transaction() as tx:
        (certificate,) = await merchants.list_certificates(tx, shop.merchant.id)
    assert certificate.revoked_at is not None
    again = await operator.send_form(path.format(shop.merchant.number, shop.certificate.serial))
    assert again.status_code == 404
    assert "Revoked" in (await operator.get(answer.headers["location"])).text


async def test_the_key_mode_is_chosen(operator: Any, database: Database, new_merchant: Any) -> None:
    shop = await new_merchant("Tea Shop")
    answer = await operator.send_form(f"/desk/merchants/{shop.merchant.number}/key-mode", key_mode="public_key")
    assert answer.status_code == 303
    async with database.transaction() as tx:
        assert (await merchants.get_merchant(tx, shop.merchant.id)).key_mode is KeyMode.PUBLIC_KEY
    bad = await operator.send_form(f"/desk/merchants/{shop.merchant.number}/key-mode", key_mode="none")
    assert bad.status_code == 422


async def test_only_who_has_not_come_in_gets_another_link(
    operator: Any, database: Database, new_merchant: Any, new_member: Any
) -> None:
    shop, other = await new_merchant("Tea Shop"), await new_merchant("Other")
    mei = await new_member("Mei", shop=shop)
    path = f"/desk/merchants/{{}}/staff/{mei.text_id}/invitation"
    answer = await operator.send_form(path.format(shop.merchant.number))
    assert answer.status_code == 200
    assert shown_token(answer.text)
    assert (await operator.send_form(path.format(other.merchant.number))).status_code == 404
    await claim(database, mei)
    refused = await operator.send_form(path.format(shop.merchant.number))
    assert refused.status_code == 409, "a new link would let somebody else in under their name"
    assert "/invitations/" not in refused.text
