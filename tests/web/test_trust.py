"""The page that a phone opens first with `run --lan`."""

from pathlib import Path
from typing import Any

import msgspec
import segno

from dewpond.kit.worlds import World
from dewpond.web import Porch, create_trust_site
from web.conftest import Client, serving

PHONE = "https://192.168.1.20:8602"


async def test_a_phone_takes_the_certificate_and_is_led_on(house: Any, world: World, tmp_path: Path) -> None:
    authority = tmp_path / "authority.crt"
    authority.write_bytes(b"a certificate")

    def create(house: Any, world: World) -> Porch:
        return create_trust_site(house, msgspec.structs.replace(world, public_url=PHONE), authority=authority)

    async with serving(house, world, create, "public_url") as origin, Client(origin) as visitor:
        text = (await visitor.get("/")).text
        assert f'<a href="{PHONE}">' in text
        assert segno.make(PHONE, error="m", micro=False).svg_inline(border=2, omitsize=True) in text
        kept = await visitor.get("/authority.crt")
        assert kept.content == b"a certificate"
        assert kept.headers["content-type"] == "application/x-x509-ca-cert"
