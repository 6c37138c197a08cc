"""The tea shop beside a world: where it opens, what it is given, and that its door is a stranger's."""

import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from dewpond.cli import shop
from dewpond.cli.shop import open_tea_shop
from dewpond.kit.addresses import Policy
from dewpond.settings import Settings, read_settings

WIRE = ("127.0.0.1", 8601)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({"DEWPOND_HOME": str(tmp_path)})


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "merchant.json").write_text("{}")
    return tmp_path


def test_a_world_without_the_shops_keys_has_no_shop(settings: Settings, tmp_path: Path) -> None:
    assert open_tea_shop(settings, tmp_path, 0, WIRE) is None


def test_without_the_sdk_it_is_said_how_to_get_it(
    settings: Settings, keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shop, "_PACKAGE", "wechatpayv3_that_is_nowhere")
    assert open_tea_shop(settings, keys, 0, WIRE) is None
    assert "pip install" in capsys.readouterr().err


def test_the_next_port_is_taken_where_the_usual_one_is(
    settings: Settings, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setattr(shop, "SHOP_PORT", other.getsockname()[1])
        opened = open_tea_shop(settings, keys, 0, WIRE)
    assert opened is not None
    assert opened.port > shop.SHOP_PORT
    assert opened.url == f"http://127.0.0.1:{opened.port}"


@pytest.mark.parametrize(
    ("_case", "wire", "url"),
    [
        ("as it is", ("127.0.0.1", 8601), "http://127.0.0.1:8601"),
        ("everywhere", ("0.0.0.0", 8601), "http://127.0.0.1:8601"),  # noqa: S104 - as `--bind` says it
        ("everywhere, by the newer protocol", ("::", 8601), "http://[::1]:8601"),
        ("on the network", ("192.168.1.10", 8601), "http://192.168.1.10:8601"),
    ],
)
def test_the_wire_is_called_from_near(_case: str, wire: tuple[str, int], url: str) -> None:
    assert shop._near(wire) == url


def test_the_shop_is_given_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEWPOND_DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("no_proxy", "example")
    monkeypatch.setenv("LANG", "C.UTF-8")
    given = shop._environ()
    assert given["LANG"] == "C.UTF-8"
    assert not [name for name in given if "DEWPOND" in name or "proxy" in name.lower()]


@pytest.mark.parametrize(
    ("address", "port", "objection"),
    [
        ("127.0.0.1", 8700, None),
        ("::ffff:127.0.0.1", 8700, None),
        ("127.0.0.1", 8701, "loopback"),
        ("127.0.0.2", 8700, "loopback"),
        ("127.0.0.1", 8601, "our own listener"),
        ("192.168.1.10", 8700, "private"),
        ("169.254.169.254", 80, "cloud metadata"),
    ],
)
def test_callbacks_of_an_open_sandbox_reach_the_shops_door_and_nothing_beside_it(
    address: str, port: int, objection: str | None
) -> None:
    """Bound beyond loopback a sandbox calls nothing private; its neighbour's door is the exception."""
    policy = Policy(
        allowed_doors=frozenset({(ip_address("127.0.0.1"), 8700), (ip_address("169.254.169.254"), 80)}),
        own_listeners=frozenset({8601}),
    )
    assert policy.objection(ip_address(address), port) == objection
