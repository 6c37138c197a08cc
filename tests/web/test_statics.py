"""Static files: kept for ever under a name of their release, and compressed once for everybody."""

import gzip
import random
from typing import Any

import pytest

from dewpond.web.statics import STATIC, smaller, static, takes_gzip

_SCANNER = "vendor/barcode-detector/zxing_reader.wasm"


@pytest.fixture
async def phone(visitors: Any) -> Any:
    return visitors.stranger("phone")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("base.css", "text/css"),
        ("vendor/htmx.js", "javascript"),
        ("icons/icon.svg", "image/svg+xml"),
        (_SCANNER, "application/wasm"),
    ],
)
async def test_files_are_kept_for_ever_and_travel_small(phone: Any, name: str, media_type: str) -> None:
    held = (STATIC / name).read_bytes()
    packed, plain = [
        await phone.get(static(name), headers={"accept-encoding": accepted}) for accepted in ("br, gzip", "identity")
    ]
    for answer in (packed, plain):
        assert answer.status_code == 200
        assert answer.content == held
        assert media_type in answer.headers["content-type"]
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "Accept-Encoding"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(gzip.compress(held, mtime=0)) < len(held)
    assert "content-encoding" not in plain.headers
    assert int(plain.headers["content-length"]) == len(held)


def test_what_gets_no_smaller_is_sent_as_it_is() -> None:
    assert smaller(random.Random(7).randbytes(500)) is None
    assert smaller(b"") is None
    assert gzip.decompress(smaller(b"tea " * 500) or b"") == b"tea " * 500


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True),
        ("br;q=1.0, GZIP;q=0.2", True),
        ("gzip; q=0.001", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0, br", False),
        ("notgzip", False),
        ("", False),
    ],
)
def test_who_takes_gzip(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes


async def test_pages_link_to_this_release(phone: Any) -> None:
    text = (await phone.get("/offline")).text
    address = text.split('stylesheet" href="', 1)[1].split('"', 1)[0]
    assert (await phone.get(address)).status_code == 200
    assert (await phone.request("HEAD", address)).content == b""


@pytest.mark.parametrize(
    "name",
    ["../pages.py", "%2e%2e/pages.py", "..%2fpages.py", "/etc/passwd", "nothing.css", "", "icons", "vendor/.stamp"],
)
async def test_nothing_else_is_found(phone: Any, name: str) -> None:
    answer = await phone.get(static(name))
    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


async def test_files_of_another_release_are_not_here(phone: Any) -> None:
    assert (await phone.get("/static/000000000000/base.css")).status_code == 404
