"""Who comes to the desk: operators, and nobody else. The table is made from the routes themselves."""

from typing import Any
from uuid import UUID

import pytest
from litestar.handlers import HTTPRouteHandler

from dewpond.kit.ids import to_text
from dewpond.merchants import Role
from dewpond.web import desk
from dewpond.web.needs import NEEDS, Needs

#: What stands in the places of a path; nothing of it exists.
PLACES = {
    "number": "1900000001",
    "serial": "A" * 40,
    "person_id": to_text("per", UUID(int=1)),
    "staff_id": to_text("stf", UUID(int=1)),
    "job_id": to_text("job", UUID(int=1)),
    "delivery_id": to_text("dlv", UUID(int=1)),
    "proposal_id": "01890000-0000-7000-8000-000000000000",
}


def addresses() -> list[Any]:
    found = []
    for route in desk.ROUTES:
        assert isinstance(route, HTTPRouteHandler)
        if route.opt[NEEDS] is Needs.NOBODY:
            continue
        for path in route.paths:
            for name, value in PLACES.items():
                path = path.replace(f"{{{name}:str}}", value).replace(f"{{{name}:uuid}}", value)
            assert "{" not in path
            found += [pytest.param(method, path, id=f"{method} {path}") for method in sorted(route.http_methods)]
    return found


def test_everything_but_the_samples_is_for_operators() -> None:
    needs = {route.opt[NEEDS] for route in desk.ROUTES if route.paths != {"/design"}}
    assert needs == {Needs.OPERATOR}


async def ask(client: Any, method: str, path: str) -> Any:
    return await (client.get(path) if method in {"GET", "HEAD"} else client.send_form(path))


@pytest.fixture(scope="module")
async def shop(new_merchant: Any) -> Any:
    return await new_merchant()


@pytest.mark.parametrize(("method", "path"), addresses())
async def test_strangers_and_shop_staff_are_kept_out(
    visitors: Any, new_member: Any, shop: Any, method: str, path: str
) -> None:
    answer = await ask(visitors.stranger("staff"), method, path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")
    for role in Role:
        client = await visitors.member(await new_member(shop=shop, role=role))
        answer = await ask(client, method, path)
        assert answer.status_code == 404, role
        nothing = await ask(client, method, "/desk/no-such-page")
        assert strip(answer.text) == strip(nothing.text), "as a page that does not exist"


def strip(text: str) -> list[str]:
    """Without the name of the request."""
    return [line for line in text.splitlines() if "mono" not in line and 'name="next"' not in line]


@pytest.mark.parametrize("cookie", ["", "x" * 86, "../../etc/passwd"])
async def test_a_cookie_of_ones_own_making_opens_nothing(visitors: Any, cookie: str) -> None:
    client = visitors.stranger("staff")
    client.cookies.set("dewpond-staff", cookie)
    assert (await client.get("/desk")).status_code == 303


async def test_a_form_of_another_site_is_turned_away(visitors: Any, new_member: Any) -> None:
    client = await visitors.member(await new_member("Olga", is_operator=True))
    answer = await client.post("/desk/clock/freeze", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403


@pytest.mark.parametrize("path", [param.values[1] for param in addresses() if param.values[0] == "POST"])
async def test_no_form_takes_fields_of_its_own_invention(visitors: Any, new_member: Any, path: str) -> None:
    client = await visitors.member(await new_member("Olga", is_operator=True))
    answer = await client.send_form(path, is_operator="1")
    assert answer.status_code == 422


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize(
    "path",
    ["", "/merchants", "/merchants/new", "/people", "/top-ups", "/ledger", "/deliveries", "/clock", "/staff"],
)
async def test_every_page_speaks_both_languages(visitors: Any, new_member: Any, path: str, language: str) -> None:
    client = await visitors.member(await new_member("Olga", is_operator=True), headers={"accept-language": language})
    answer = await client.get(f"/desk{path}")
    assert answer.status_code == 200
    assert f'<html lang="{language}"' in answer.text
    assert answer.headers["cache-control"] == "no-store"


async def test_the_samples_are_open_in_a_sandbox(visitors: Any) -> None:
    answer = await visitors.stranger("staff").get("/design")
    assert answer.status_code == 200
