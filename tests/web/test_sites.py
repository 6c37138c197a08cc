"""What both sites have alike: doors, headers, strangers' forms, languages."""

import asyncio
from typing import Any

import msgspec
import pytest

from dewpond.kit.worlds import World
from dewpond.web import Porch, create_phone_site, pages, warm_up, words
from dewpond.web.live import OF_SESSION
from dewpond.web.words import Language

from .conftest import Client, serving


@pytest.fixture
def phone(visitors: Any) -> Any:
    return visitors.stranger("phone")


async def test_every_answer_carries_the_headers(phone: Any) -> None:
    for path in ("/offline", "/nothing", "/favicon.ico"):
        headers = (await phone.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert len(headers["x-request-id"]) == 16


@pytest.mark.parametrize(
    ("_case", "headers", "status"),
    [
        ("from a page of ours", {"origin": "OWN"}, 303),
        ("from another site", {"origin": "https://evil.example"}, 403),
        ("from the same name over https", {"origin": "OWN AS HTTPS"}, 403),
        ("from what is no origin", {"origin": "http://["}, 403),
        ("from another port of this machine", {"origin": "http://localhost:1"}, 403),
        ("from nowhere, as a sandboxed frame says", {"origin": "null"}, 403),
        ("cross-site without an origin", {"sec-fetch-site": "cross-site"}, 403),
        ("same-site without an origin", {"sec-fetch-site": "same-site"}, 403),
        ("no browser at all", {}, 303),
        ("a cookie, but no word of where it comes from", {"cookie": "lang=en"}, 403),
    ],
)
async def test_forms_of_other_sites_are_turned_away(
    phone: Any, _case: str, headers: dict[str, str], status: int
) -> None:
    own = {"OWN": phone.origin, "OWN AS HTTPS": phone.origin.replace("http:", "https:")}
    told = {name: own.get(value, value) for name, value in headers.items()}
    answer = await phone.post("/settings", data={"lang": "en"}, headers=told)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("[", 421),
        ("127.0.0.1:{port}", 307),
        ("localhost:{port}", 200),
    ],
)
async def test_names_that_others_could_point_at_us_are_refused(phone: Any, host: str, status: int) -> None:
    port = phone.origin.rpartition(":")[2]
    answer = await phone.get("/offline", headers={"host": host.format(port=port)})
    assert answer.status_code == status


@pytest.mark.parametrize(
    "next_", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "\t//x"]
)
async def test_the_way_back_never_leads_elsewhere(phone: Any, next_: str) -> None:
    answer = await phone.send_form("/settings", lang="en", next=next_)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    ("accepted", "cookie", "lang"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh-CN"),
        ("zh-Hans-CN", "", "zh-CN"),
        ("en-GB,zh;q=0.5", "", "en"),
        ("de,fr", "", "en"),
        ("de;q=nonsense,zh", "", "zh-CN"),
        ("", "", "en"),
        ("zh", "en", "en"),
        ("en", "zh-CN", "zh-CN"),
        ("zh", "klingon", "zh-CN"),
    ],
)
async def test_pages_speak_the_visitors_language(phone: Any, accepted: str, cookie: str, lang: str) -> None:
    headers = {"accept-language": accepted} | ({"cookie": f"lang={cookie}"} if cookie else {})
    assert f'<html lang="{lang}"' in (await phone.get("/offline", headers=headers)).text


async def test_zero_bytes_go_no_further(phone: Any) -> None:
    for path in ("/offline?q=%00", "/%00"):
        assert (await phone.get(path)).status_code == 400
    assert (await phone.send_form("/settings", lang="en", next="/\0")).status_code == 422


async def test_a_form_with_fields_of_its_own_invention_is_refused(phone: Any) -> None:
    answer = await phone.send_form("/settings", lang="en", is_operator="1")
    assert answer.status_code == 422


def test_a_site_that_is_warm_has_every_template_compiled_and_both_languages_read() -> None:
    """A template that does not compile shows here, and not to the first who opens its page."""
    warm_up()
    environment = pages._environment()
    assert environment.cache is not None
    assert len(environment.cache) == len(environment.list_templates()) > 50
    assert words._catalogue.cache_info().currsize == len(Language)


async def test_at_a_bare_address_no_passkey_is_offered_and_a_pin_does(house: Any, world: World) -> None:
    """Browsers make no passkeys for an address, and a button that cannot work is worse than none."""

    def create(house: Any, world: World) -> Porch:
        return create_phone_site(house, msgspec.structs.replace(world, public_url="http://192.168.1.20:8602"))

    async with serving(house, world, create, "public_url") as origin, Client(origin) as visitor:
        for path, way in (("/join", 'href="/join/with-pin"'), ("/sign-in", "Scan to sign in")):
            text = (await visitor.get(path, headers={"host": "192.168.1.20:8602"})).text
            assert "here a PIN does it" in text
            assert way in text
            assert "data-passkey=" not in text


async def test_at_a_name_passkeys_are_offered(phone: Any) -> None:
    for path in ("/join", "/sign-in"):
        text = (await phone.get(path)).text
        assert "data-passkey=" in text
        assert "here a PIN does it" not in text


async def test_a_head_is_a_get_without_its_body(phone: Any) -> None:
    for path, status in (("/offline", 200), ("/nothing", 404), ("/me", 303)):
        whole = await phone.get(path)
        answer = await phone.request("HEAD", path)
        assert (answer.status_code, answer.content) == (status, b"")
        assert answer.headers["content-security-policy"] == whole.headers["content-security-policy"]
        assert answer.headers.get("location") == whole.headers.get("location")


async def test_the_head_of_a_stream_holds_no_line(visitors: Any, new_merchant: Any, new_member: Any) -> None:
    shop = await new_merchant("Tea Shop")
    owner = await visitors.member(await new_member(shop=shop))
    for _ in range(3 * OF_SESSION):  # more than a session may have open
        answer = await owner.request("HEAD", f"/m/{shop.merchant.number}/live", headers={"accept": "text/event-stream"})
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PUT", "DELETE"])
async def test_other_methods_find_nothing(phone: Any, method: str) -> None:
    for path in ("/offline", "/nothing"):
        answer = await phone.request(method, path)
        assert (answer.status_code, "allow" in answer.headers) == (404, False)


async def _asked(phone: Any, path: str, *lines: str) -> str:
    """What comes to a request that no client library would write."""
    name, _, port = phone.origin.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    head = [f"GET {path} HTTP/1.1", f"Host: {name}:{port}", "Connection: close", *lines, "", ""]
    writer.write("\r\n".join(head).encode())
    heard = (await asyncio.wait_for(reader.read(), 60)).decode()
    writer.close()
    return heard


async def test_a_path_has_one_spelling(phone: Any) -> None:
    for path in ("//offline", "/%2foffline", "/%2Foffline", "/offline//", "///"):
        assert (await _asked(phone, path)).startswith("HTTP/1.1 404"), path
    assert (await _asked(phone, "/offline")).startswith("HTTP/1.1 200")


async def test_cookies_in_several_lines_are_as_in_one(visitors: Any, new_person: Any) -> None:
    """Both who speaks the language (the porch) and who knows the visitor (the routes) read all of them."""
    client = await visitors.person(await new_person("Alice", "1.00"))
    session = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    for lines in (("lang=zh-CN", session), (session, "lang=zh-CN"), (f"lang=zh-CN; {session}",)):
        heard = await _asked(client, "/me", *(f"Cookie: {line}" for line in lines))
        assert heard.startswith("HTTP/1.1 200"), lines
        assert '<html lang="zh-CN"' in heard, lines
