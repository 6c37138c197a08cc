"""What the terminal says where there is little room, and where a browser has to be told something first."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from dewpond import openplatform
from dewpond.cli.deliveries import listed
from dewpond.cli.welcome import Told, welcome
from dewpond.kit.worlds import World, WorldKind
from dewpond.openplatform import DeliveryStatus
from dewpond.settings import Settings

NOW = datetime(2026, 11, 24, 8, 40, tzinfo=UTC)


@pytest.mark.parametrize("width", [80, 120, 159, 160])
def test_the_id_of_a_delivery_stays_in_one_piece(width: int) -> None:
    from rich.console import Console

    one: Any = SimpleNamespace(
        id=uuid4(), event_kind="payment.succeeded", status=DeliveryStatus.DELIVERED, attempts=15, created_at=NOW,
        next_attempt_at=NOW, url="https://tea.example/dewpond/notifications/of/payments",
    )  # fmt: skip
    console = Console(width=width)
    with console.capture() as said:
        console.print(listed([one], width).table)
    assert openplatform.to_text(one.id) in said.get()
    assert "delivered" in said.get()


@pytest.mark.parametrize("trust_url", ["", "http://192.0.2.7:8604/trust"])
def test_with_lan_it_says_to_type_https(trust_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(
        id=uuid4(), kind=WorldKind.LIVE, created_at=NOW, public_url="https://192.0.2.7:8602",
        clock_offset=timedelta(), frozen_at=None, wire_url="https://192.0.2.7:8601", staff_url="https://192.0.2.7:8603",
    )  # fmt: skip
    place: Any = SimpleNamespace(settings=Settings(home=tmp_path))
    welcome(place, world, Told(access_code="", trust_url=trust_url, shop_url=""), json=False)
    assert ("Type https://" in capsys.readouterr().out) is bool(trust_url)
