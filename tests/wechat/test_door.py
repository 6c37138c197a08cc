"""Who calls: the order of the checks, the Authorization header, what is signed, and what every answer carries."""

import itertools
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dewpond import merchants
from dewpond.kit import clock, crypto

from .conftest import NATIVE, REFUNDS, Client, Heard, exchange, unique

CERTIFICATES = "/v3/certificates"
GOOD = "WECHATPAY2-SHA256-RSA2048 "


# --- the order of checks (contract §1.2) ------------------------------------------------------------------------------


def _said(heard: Heard) -> tuple[int, str, str]:
    return heard.status, heard.code, heard.json["message"]


@pytest.mark.parametrize(
    ("_case", "method", "target", "status"),
    [
        ("a path nobody knows", "GET", "/v3/pay/transactions/nativ", 404),
        ("the root", "GET", "/", 404),
        ("no health check on this wire", "GET", "/health", 404),
        ("a slash at the end", "GET", "/v3/certificates/", 404),
        ("two slashes", "GET", "//v3/certificates", 404),
        ("two slashes inside", "GET", "/v3//certificates", 404),
        ("an escaped slash", "POST", "/v3/pay/transactions/out-trade-no/tea-1234%2Fclose", 404),
        ("a path in upper case", "GET", "/V3/certificates", 404),
        ("another method on a known path", "GET", NATIVE, 405),
        ("POST where GET is meant", "POST", CERTIFICATES, 405),
        ("DELETE", "DELETE", NATIVE, 405),
        ("OPTIONS", "OPTIONS", NATIVE, 405),
        ("OPTIONS on a path with a number", "OPTIONS", "/v3/pay/transactions/out-trade-no/tea-1234", 405),
        ("PUT on a path with a number", "PUT", "/v3/pay/transactions/out-trade-no/tea-1234/close", 405),
        ("GET of a close", "GET", "/v3/pay/transactions/out-trade-no/tea-1234/close", 405),
    ],
)
async def test_unknown_paths_and_wrong_methods_are_answered_with_an_empty_body(
    _case: str, method: str, target: str, status: int, client: Client
) -> None:
    for authorization in (None, ""):  # before anything else: whoever asks
        heard = await client.ask(method, target, authorization=authorization)
        assert (heard.status, heard.body, heard.header("Content-Length")) == (status, b"", "0")
        assert heard.header("Request-ID")
        assert heard.header("Wechatpay-Signature") is None


async def test_a_head_request_gets_no_body_and_no_yes(client: Client) -> None:
    heard = await exchange(client.port, b"HEAD /v3/certificates HTTP/1.1\r\nHost: x\r\n\r\n")
    assert heard.status == 405


@pytest.mark.parametrize("missing", ["Accept", "User-Agent"])
@pytest.mark.parametrize(
    ("_case", "method", "target"),
    [("certificates", "GET", CERTIFICATES), ("refund", "POST", REFUNDS), ("refund query", "GET", f"{REFUNDS}/b1")],
)
async def test_certificates_and_refunds_ask_for_accept_and_user_agent_before_anything_else(
    _case: str, method: str, target: str, missing: str, client: Client
) -> None:
    for value in (None, ""):
        heard = await client.ask(method, target, authorization=None, headers={missing: value})
        assert (heard.status, heard.code) == (400, "INVALID_REQUEST")


async def test_prepay_does_not_ask_for_accept_or_user_agent(client: Client) -> None:
    heard = await client.ask("POST", NATIVE, client.order(), headers={"Accept": None, "User-Agent": None})
    assert heard.status == 200


@pytest.mark.parametrize("accept", ["*/*", " */*", "application/json", "text/html"])
async def test_any_accept_will_do(accept: str, client: Client) -> None:
    assert (await client.ask("GET", CERTIFICATES, headers={"Accept": accept})).status == 200


ORDER: list[tuple[str, dict[str, Any], tuple[int, str, str]]] = [
    (
        "no Authorization, rubbish for a body",
        {"authorization": None, "body": b"rubbish"},
        (401, "SIGN_ERROR", "no Authorization header"),
    ),
    (
        "malformed, and old",
        {"authorization": GOOD + 'mchid="1",timestamp="1"'},
        (401, "SIGN_ERROR", "not in form"),
    ),
    (
        "old, and nobody we know",
        {"timestamp": int(time.time()) - 3600, "mchid": "1111111111", "signature": "AAAA"},
        (401, "SIGN_ERROR", "5 minutes"),
    ),
    (
        "nobody we know, and a false signature",
        {"mchid": "1111111111", "signature": "AAAA"},
        (401, "SIGN_ERROR", "no merchant"),
    ),
    (
        "no such certificate, and a false signature",
        {"serial_no": "1" * 40, "signature": "AAAA"},
        (401, "SIGN_ERROR", "no certificate"),
    ),
    (
        "a false signature over rubbish",
        {"signature": "AAAA", "body": b"rubbish"},
        (401, "SIGN_ERROR", "does not verify"),
    ),
    (
        "well signed rubbish",
        {"body": b"rubbish"},
        (400, "PARAM_ERROR", "not a JSON object"),
    ),
    (
        "a wrong field, and another's mchid",
        {"order": {"mchid": "1111111111", "amount": {"total": "1"}}},
        (400, "PARAM_ERROR", "/amount/total"),
    ),
    (
        "another's mchid, and another's appid",
        {"order": {"mchid": "1111111111", "appid": "wx0000000000000000"}},
        (400, "PARAM_ERROR", "mchid"),
    ),
    (
        "another's appid, and a time that has passed",
        {"order": {"appid": "wx0000000000000000", "time_expire": "2001-01-01T00:00:00+08:00"}},
        (400, "APPID_MCHID_NOT_MATCH", "appid"),
    ),
    (
        "only a time that has passed",
        {"order": {"time_expire": "2001-01-01T00:00:00+08:00"}},
        (400, "INVALID_REQUEST", "time_expire"),
    ),
]


@pytest.mark.parametrize(("_case", "faults", "expected"), ORDER)
async def test_of_several_faults_the_contracts_first_is_told(
    _case: str, faults: dict[str, Any], expected: tuple[int, str, str], client: Client
) -> None:
    faults = dict(faults)
    body = faults.pop("body", None) or json.dumps(client.order(**faults.pop("order", {}))).encode()
    heard = await client.ask("POST", NATIVE, body, **faults)
    status, code, message = _said(heard)
    assert (status, code) == expected[:2]
    assert expected[2] in message
    assert heard.header("Wechatpay-Signature") is None
    assert heard.header("Content-Type") == "application/json"
    number = (heard.header("Request-ID") or "").partition("-")[2]
    assert int(number) > 0


# --- the Authorization header -----------------------------------------------------------------------------------------

FIELDS = ("mchid", "nonce_str", "signature", "timestamp", "serial_no")


def _joined(fields: dict[str, str], separator: str = ",") -> str:
    return GOOD + separator.join(f'{name}="{value}"' for name, value in fields.items())


def _with(**changed: str) -> Callable[[dict[str, str]], str]:
    return lambda fields: _joined({**fields, **changed})


def _without(name: str) -> Callable[[dict[str, str]], str]:
    return lambda fields: _joined({key: value for key, value in fields.items() if key != name})


def _twice(name: str) -> Callable[[dict[str, str]], str]:
    return lambda fields: _joined(fields) + f',{name}="{fields[name]}"'


GOOD_SPELLINGS: list[tuple[str, Callable[[dict[str, str]], str]]] = [
    *(
        (f"in the order {' '.join(names)}", lambda fields, names=names: _joined({n: fields[n] for n in names}))
        for names in itertools.islice(itertools.permutations(FIELDS), 0, 120, 17)
    ),
    ("blanks after commas", lambda fields: _joined(fields, ", ")),
    ("many blanks after commas", lambda fields: _joined(fields, ",   ")),
    ("a tab after commas", lambda fields: _joined(fields, ",\t")),
    ("the serial in lower case", lambda fields: _joined({**fields, "serial_no": fields["serial_no"].lower()})),
    ("the serial with zeros in front", lambda fields: _joined({**fields, "serial_no": f"00{fields['serial_no']}"})),
    ("a field nobody knows", _with(extra="1")),
    ("blanks around the value", lambda fields: f"  {_joined(fields)}  "),
]

BAD_SPELLINGS: list[tuple[str, Callable[[dict[str, str]], str]]] = [
    *((f"without {name}", _without(name)) for name in FIELDS),
    *((f"{name} twice", _twice(name)) for name in FIELDS),
    *((f"empty {name}", _with(**{name: ""})) for name in FIELDS),
    ("nothing but the scheme", lambda _: GOOD.strip()),
    ("empty", lambda _: ""),
    ("the scheme in lower case", lambda fields: _joined(fields).replace(GOOD, GOOD.lower())),
    ("the other scheme", lambda fields: _joined(fields).replace("SHA256-RSA2048", "SM2-WITH-SM3")),
    ("another scheme", lambda _: "Bearer abc"),
    ("two blanks after the scheme", lambda fields: _joined(fields).replace(GOOD, GOOD + " ")),
    ("no quotes", lambda fields: _joined(fields).replace('"', "")),
    ("single quotes", lambda fields: _joined(fields).replace('"', "'")),
    ("a comma at the end", lambda fields: _joined(fields) + ","),
    ("semicolons", lambda fields: _joined(fields, ";")),
    ("blanks around the equals sign", lambda fields: _joined(fields).replace('="', ' = "')),
    ("a fraction of a second", lambda fields: _joined({**fields, "timestamp": f"{fields['timestamp']}.0"})),
    ("a sign before the timestamp", lambda fields: _joined({**fields, "timestamp": f"+{fields['timestamp']}"})),
    ("milliseconds", lambda fields: _joined({**fields, "timestamp": f"{fields['timestamp']}000"})),
    ("a timestamp of letters", _with(timestamp="now")),
    ("an endless timestamp", _with(timestamp="9" * 400)),
    ("a nonce too long", _with(nonce_str="x" * 65)),
    ("a signature in hex", lambda fields: _joined({**fields, "signature": fields["signature"].encode().hex()})),
    ("a signature without its end", lambda fields: _joined({**fields, "signature": fields["signature"].rstrip("=")})),
    ("a signature of nothing", _with(signature="====")),
    ("a serial too long", _with(serial_no="1" * 65)),
    ("a serial of another alphabet", _with(serial_no="证书")),
    ("a header too long", _with(extra="x" * 5000)),
]


def _spelled(client: Client, spell: Callable[[dict[str, str]], str], body: bytes) -> str:
    fields = {
        "mchid": client.mchid,
        "nonce_str": "abcdefgh",
        "timestamp": str(int(time.time())),
        "serial_no": client.shop.certificate.serial,
    }
    fields["signature"] = client.signature("POST", NATIVE, body, timestamp=fields["timestamp"], nonce="abcdefgh")
    return spell({name: fields[name] for name in FIELDS})


@pytest.mark.parametrize(("_case", "spell"), GOOD_SPELLINGS)
async def test_an_authorization_that_means_the_right_thing_is_read(
    _case: str, spell: Callable[[dict[str, str]], str], client: Client
) -> None:
    body = json.dumps(client.order()).encode()
    heard = await client.ask("POST", NATIVE, body, authorization=_spelled(client, spell, body))
    assert heard.status == 200, heard.body


@pytest.mark.parametrize(("_case", "spell"), BAD_SPELLINGS)
async def test_an_authorization_that_does_not_is_refused_and_nothing_is_ordered(
    _case: str, spell: Callable[[dict[str, str]], str], client: Client
) -> None:
    order = client.order()
    body = json.dumps(order).encode()
    authorization = _spelled(client, spell, body).encode().decode("latin-1")
    heard = await client.ask("POST", NATIVE, body, authorization=[authorization])
    assert (heard.status, heard.code) == (401, "SIGN_ERROR")
    assert (await client.query(order["out_trade_no"])).code == "ORDER_NOT_EXIST"


async def test_two_authorization_headers_are_refused_even_when_both_are_right(client: Client) -> None:
    body = json.dumps(client.order()).encode()
    good = client.authorization("POST", NATIVE, body)
    heard = await client.ask("POST", NATIVE, body, authorization=[good, good])
    assert (heard.status, heard.code) == (401, "SIGN_ERROR")


@pytest.mark.parametrize(
    ("_case", "seconds", "status"),
    [("now", 0, 200), ("just inside", -300, 200), ("just inside, ahead", 300, 200), ("just outside", -301, 401),
     ("just outside, ahead", 301, 401), ("years ago", -(10**8), 401)],
)  # fmt: skip
async def test_the_timestamp_may_be_five_minutes_off(
    _case: str, seconds: int, status: int, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = clock.wall_now()
    monkeypatch.setattr(clock, "wall_now", lambda: wall)
    heard = await client.ask("POST", NATIVE, client.order(), timestamp=int(wall.timestamp()) + seconds)
    assert heard.status == status


@pytest.mark.parametrize("nonce", ["x", "593BEC0C930BF1AFEB40B4A08C8FB242", "a1b2c3d4e5f", "~!@#$%^&*()_ ,=", "x" * 64])
async def test_a_nonce_is_opaque(nonce: str, client: Client) -> None:
    assert (await client.ask("POST", NATIVE, client.order(), nonce_str=nonce)).status == 200


async def test_the_same_signed_request_may_come_twice(client: Client) -> None:
    body = json.dumps(client.order()).encode()
    good = client.authorization("POST", NATIVE, body)
    assert [(await client.ask("POST", NATIVE, body, authorization=good)).status for _ in range(2)] == [200, 200]


# --- certificates -----------------------------------------------------------------------------------------------------


async def test_a_revoked_certificate_is_refused_from_the_next_request_on(new_client: Any) -> None:
    client = await new_client()
    assert (await client.prepay()).status == 200
    async with client.house.db.transaction() as tx:
        await merchants.revoke_certificate(
            tx, client.shop.merchant.id, client.shop.certificate.serial, wall_now=clock.wall_now()
        )
    heard = await client.prepay()
    assert (heard.status, heard.code) == (401, "SIGN_ERROR")
    assert "revoked" in heard.json["message"]


@pytest.mark.parametrize(
    ("_case", "issued_ago"), [("expired", timedelta(days=3650)), ("not valid yet", timedelta(days=-2))]
)
async def test_a_certificate_outside_of_its_time_is_refused(
    _case: str, issued_ago: timedelta, new_client: Any, secrets: Any
) -> None:
    client = await new_client()
    csr = crypto.certificate_signing_request(client.shop.private_key_pem, client.mchid)
    async with client.house.db.transaction() as tx:
        other = await merchants.issue_certificate(
            tx, client.shop.merchant, csr, secrets=secrets, wall_now=clock.wall_now() - issued_ago
        )
    heard = await client.ask("POST", NATIVE, client.order(), serial_no=other.serial)
    assert heard.status == 401
    assert "not valid" in heard.json["message"]


async def test_another_merchants_certificate_is_not_mine(client: Client, new_client: Any) -> None:
    other = await new_client()
    heard = await client.ask("POST", NATIVE, client.order(), serial_no=other.shop.certificate.serial)
    assert (heard.status, heard.code) == (401, "SIGN_ERROR")


@pytest.mark.parametrize("whose", ["nobody's", "the platform's"])
async def test_a_sandbox_says_which_serial_would_have_been_right(client: Client, whose: str) -> None:
    """The platform's serial in place of one's own is the classic slip of a first integration."""
    serial = client.shop.platform_certificate.id if whose == "the platform's" else "7" * 40
    heard = await client.ask("POST", NATIVE, client.order(), serial_no=serial)
    assert (heard.status, heard.code) == (401, "SIGN_ERROR")
    assert ("platform's" in heard.json["detail"]["issue"]) == (whose == "the platform's")
    assert client.shop.certificate.serial in heard.json["detail"]["issue"]


async def test_a_sandbox_says_what_time_it_is_there(client: Client) -> None:
    heard = await client.prepay(time_expire="2018-06-08T10:34:56+08:00")
    assert (heard.status, heard.code) == (400, "INVALID_REQUEST")
    assert "the world's time is 20" in heard.json["detail"]["issue"]


# --- what is signed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "write"),
    [
        ("the sync Python SDK: blanks and escapes", lambda order: json.dumps(order).encode()),
        ("compact, raw UTF-8", lambda order: json.dumps(order, ensure_ascii=False, separators=(",", ":")).encode()),
        ("Go: a line feed at the end", lambda order: json.dumps(order).encode() + b"\n"),
        ("PHP: escaped slashes", lambda order: json.dumps(order).replace("/", r"\/").encode()),
        ("indented, with carriage returns", lambda order: json.dumps(order, indent=2).replace("\n", "\r\n").encode()),
    ],
)
async def test_the_body_is_believed_byte_for_byte_however_it_is_written(
    _case: str, write: Callable[[Any], bytes], client: Client
) -> None:
    order = client.order(description='茶 <&> "quoted" \\ /', attach="a&b<c>'\"/中文🍵")
    assert (await client.ask("POST", NATIVE, write(order))).status == 200
    assert (await client.query(order["out_trade_no"])).json["attach"] == order["attach"]


@pytest.mark.parametrize(
    ("_case", "wire", "signed"),
    [
        ("raw, signed raw", "te|a*1", "te|a*1"),
        ("escaped, signed escaped", "te%7Ca%2A1", "te%7Ca%2A1"),
        ("escaped, signed raw", "te%7Ca%2A1", "te|a*1"),
        ("escaped in lower case, signed raw", "te%7ca%2a1", "te|a*1"),
    ],
)
async def test_odd_letters_in_a_number_may_be_escaped_after_signing(
    _case: str, wire: str, signed: str, client: Client
) -> None:
    await client.prepay(out_trade_no="te|a*1")
    path = "/v3/pay/transactions/out-trade-no/{}?mchid=" + client.mchid
    heard = await client.ask("GET", path.format(wire), signed_target=path.format(signed))
    assert heard.status == 200
    assert heard.json["out_trade_no"] == "te|a*1"
    closing = "/v3/pay/transactions/out-trade-no/{}/close"
    body = {"mchid": client.mchid}
    heard = await client.ask("POST", closing.format(wire), body, signed_target=closing.format(signed))
    assert heard.status == 204


async def test_the_query_is_part_of_what_is_signed(client: Client) -> None:
    target = "/v3/certificates?algorithm_type=RSA"
    assert (await client.ask("GET", target)).status == 200
    assert (await client.ask("GET", target, signed_target="/v3/certificates")).status == 401


def _cut(text: str, at: int, put: str) -> str:
    at %= len(text)
    return text[:at] + put + text[at + 1 :]


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    part=st.sampled_from(["method", "target", "timestamp", "nonce", "body", "signature", "serial_no", "mchid"]),
    at=st.integers(0, 10_000),
    letter=st.characters(codec="ascii", exclude_categories=("C",), exclude_characters='"\\'),
)
async def test_a_request_mutated_after_signing_never_passes(
    part: str, at: int, letter: str, client: Client, new_client: Any
) -> None:
    order = client.order()
    body = json.dumps(order).encode()
    signed = {"method": "POST", "target": NATIVE, "timestamp": int(time.time()), "nonce": "abcdefgh12345678"}
    sent: dict[str, Any] = {**signed, "body": body.decode()}
    sent["signature"] = client.signature("POST", NATIVE, body, timestamp=signed["timestamp"], nonce=signed["nonce"])
    sent |= {"serial_no": client.shop.certificate.serial, "mchid": client.mchid}
    before = dict(sent)
    match part:
        case "method":
            sent["signature"] = client.signature(
                "GET", NATIVE, body, timestamp=signed["timestamp"], nonce=signed["nonce"]
            )
        case "target":
            sent["target"] = f"{NATIVE}?{at}"
        case "timestamp":
            sent["timestamp"] += 1 + at % 250
        case "serial_no":
            sent["serial_no"] = _cut(sent["serial_no"], at, "0123456789ABCDEF"[at % 16])
        case _:
            sent[part] = _cut(str(sent[part]), at, letter)
    if sent == before:
        return
    heard = await client.ask(
        "POST",
        sent["target"],
        sent["body"].encode(),
        mchid=sent["mchid"],
        nonce_str=sent["nonce"],
        timestamp=sent["timestamp"],
        serial_no=sent["serial_no"],
        signature=sent["signature"],
    )
    assert heard.status == 401, (part, heard)
    assert (await client.query(order["out_trade_no"])).status == 404


async def test_another_merchants_signature_does_not_open_my_door(client: Client, new_client: Any) -> None:
    other = await new_client()  # with the same key, so that only the names differ
    heard = await other.ask("POST", NATIVE, client.order())
    assert (heard.status, heard.code) == (400, "PARAM_ERROR")


# --- the sandbox explains ---------------------------------------------------------------------------------------------


async def test_a_sandbox_says_what_it_verified_and_what_differs(client: Client) -> None:
    target = f"{CERTIFICATES}?algorithm_type=RSA"
    heard = await client.ask("GET", target, signed_target=CERTIFICATES)
    detail = heard.json["detail"]
    assert detail["verdict"] == "difference_found"
    assert [(each["line"], each["ours"], each["yours"]) for each in detail["differences"]] == [
        ("target", target, CERTIFICATES)
    ]
    assert detail["sign_message"].startswith(f"GET\n{target}\n")
    assert client.shop.api_v3_key not in heard.body.decode()
    assert "PRIVATE KEY" not in heard.body.decode()


async def test_only_a_failed_signature_is_explained(client: Client) -> None:
    heard = await client.ask("POST", NATIVE, client.order(), timestamp=1)
    assert "detail" not in heard.json


# --- what every answer carries ----------------------------------------------------------------------------------------


async def test_a_success_carries_its_headers_in_exactly_this_case(client: Client) -> None:
    began = int(time.time())
    for heard in (await client.prepay(), await client.close(unique())):
        assert {name for name, _ in heard.headers} >= {
            "Wechatpay-Timestamp",
            "Wechatpay-Nonce",
            "Wechatpay-Signature",
            "Wechatpay-Serial",
            "Wechatpay-Signature-Type",
            "Request-ID",
            "Content-Type",
            "Cache-Control",
        }
        assert heard.header("Content-Type") == "application/json"
        assert heard.header("Wechatpay-Signature-Type") == "WECHATPAY2-SHA256-RSA2048"
        assert began <= int(heard.header("Wechatpay-Timestamp") or 0) <= time.time()
        assert len(heard.header("Wechatpay-Nonce") or "") == 32
        assert (heard.header("Request-ID") or "").endswith("-0")
        assert client.verifies(heard)


async def test_a_204_has_neither_body_nor_length_and_is_signed_over_nothing(client: Client) -> None:
    heard = await client.close(unique())
    assert (heard.status, heard.body) == (204, b"")
    assert not {"content-length", "transfer-encoding"} & {name.lower() for name, _ in heard.headers}
    assert client.verifies(heard)


async def test_no_two_answers_share_a_request_id(client: Client) -> None:
    ids = {(await client.ask("GET", CERTIFICATES, authorization=None)).header("Request-ID") for _ in range(5)}
    assert len(ids) == 5


KEYS = [
    ("certificate mode, none named", merchants.KeyMode.CERTIFICATE, None, "certificate"),
    ("public key mode, none named", merchants.KeyMode.PUBLIC_KEY, None, "public"),
    ("certificate mode, an empty name", merchants.KeyMode.CERTIFICATE, "", "certificate"),
    ("certificate mode, the public key named", merchants.KeyMode.CERTIFICATE, "public", "public"),
    ("public key mode, the certificate named", merchants.KeyMode.PUBLIC_KEY, "certificate", "certificate"),
    ("public key mode, another's public key", merchants.KeyMode.PUBLIC_KEY, "PUB_KEY_ID_01" + "0" * 26, "public"),
    ("certificate mode, another's public key", merchants.KeyMode.CERTIFICATE, "PUB_KEY_ID_01" + "0" * 26, "public"),
    ("certificate mode, rubbish", merchants.KeyMode.CERTIFICATE, "not a serial!", "certificate"),
]


@pytest.mark.parametrize(("_case", "mode", "named", "signs"), KEYS)
async def test_the_key_that_signs_is_the_one_named_or_the_merchants_own(
    _case: str, mode: merchants.KeyMode, named: str | None, signs: str, new_client: Any
) -> None:
    client = await new_client(mode)
    ids = {"certificate": client.shop.platform_certificate.id, "public": client.shop.public_key.id}
    headers = {"Wechatpay-Serial": ids.get(named or "", named)}
    heard = await client.ask("POST", NATIVE, client.order(), headers=headers)
    assert heard.header("Wechatpay-Serial") == ids[signs]
    assert client.verifies(heard)


@pytest.mark.parametrize(
    ("_case", "language", "expected"),
    [
        ("nothing", None, "zh"),
        ("Chinese", "zh-CN", "zh"),
        ("Hong Kong", "zh-HK", "zh"),
        ("English", "en", "en"),
        ("English of somewhere", "en-US,en;q=0.9", "en"),
        ("Chinese first", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("French, then English", "fr-FR, en;q=0.5", "en"),
        ("anything", "*", "zh"),
        ("rubbish", ";;;,,,", "zh"),
    ],
)
async def test_the_message_is_chinese_unless_english_is_wanted(
    _case: str, language: str | None, expected: str, client: Client
) -> None:
    heard = await client.ask(
        "GET", f"/v3/pay/transactions/out-trade-no/nobody-1?mchid={client.mchid}", headers={"Accept-Language": language}
    )
    assert heard.json == {
        "code": "ORDER_NOT_EXIST",
        "message": "订单不存在" if expected == "zh" else "There is no such payment.",
    }


# --- bodies that are too much -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "body"),
    [
        ("empty", b""),
        ("a list", b"[]"),
        ("null", b"null"),
        ("a number", b"1"),
        ("cut off", b'{"appid":'),
        ("two objects", b"{}{}"),
        ("not UTF-8", b'{"appid":"\xff\xfe"}'),
        ("a lone surrogate", b'{"appid":"\\ud800"}'),
        ("a byte order mark", b"\xef\xbb\xbf{}"),
        ("deep lists in an unknown field", b'{"x":' + b"[" * 400_000),
        ("a form", b"appid=1&mchid=2"),
        ("XML", b"<xml></xml>"),
    ],
)
async def test_a_body_that_is_not_a_json_object_is_refused(_case: str, body: bytes, client: Client) -> None:
    heard = await client.ask("POST", NATIVE, body)
    assert (heard.status, heard.code) == (400, "PARAM_ERROR")


async def test_a_body_over_a_megabyte_is_refused_and_the_connection_lives_on(client: Client) -> None:
    heard = await client.ask("POST", NATIVE, b'{"x":"' + b"x" * 1_100_000 + b'"}')
    assert (heard.status, heard.code) == (400, "INVALID_REQUEST")
    almost = client.order(unknown="x" * 900_000)
    assert (await client.ask("POST", NATIVE, almost)).status == 200


async def test_what_is_not_http_is_answered_with_an_empty_400(client: Client) -> None:
    heard = await exchange(client.port, b"RUBBISH\r\n\r\n")
    assert (heard.status, heard.body) == (400, b"")
