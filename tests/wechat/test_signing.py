"""Signatures of API v3: the header, the texts, and the explanation of a failure."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, utils
from hypothesis import given
from hypothesis import strategies as st

from dewpond.kit import crypto
from dewpond.wechat import signing
from dewpond.wechat.mistakes import join_lines

VECTORS = Path(__file__).parent / "vectors"
SERIAL = "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C"
NONCE = "593BEC0C930BF1AFEB40B4A08C8FB242"
FIELDS = {
    "mchid": "1900009191",
    "nonce_str": NONCE,
    "signature": "BASE64+/==",
    "timestamp": "1554208460",
    "serial_no": SERIAL,
}


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


def header(fields: dict[str, str], *, separator: str = ",", scheme: str = signing.SCHEME) -> str:
    return f"{scheme} " + separator.join(f'{name}="{value}"' for name, value in fields.items())


@pytest.fixture(scope="session")
def key() -> crypto.PrivateKey:
    return crypto.parse_private_key(crypto.new_private_key_pem())


@pytest.fixture(scope="session")
def other_key() -> crypto.PrivateKey:
    return crypto.parse_private_key(crypto.new_private_key_pem())


# --- vectors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", vectors("signing")["requests"], ids=lambda vector: vector["case"])
def test_request_texts_of_the_contract(vector) -> None:
    (message,) = signing.request_messages(
        vector["method"], vector["target"].encode(), vector["timestamp"], vector["nonce"], vector["body"].encode()
    )
    assert (len(message), hashlib.sha256(message).hexdigest()) == (vector["bytes"], vector["sha256"])


@pytest.mark.parametrize("vector", vectors("signing")["answers"], ids=lambda vector: vector["case"])
def test_answer_texts_of_the_contract(vector) -> None:
    message = signing.answer_message(vector["timestamp"], vector["nonce"], vector["body"].encode())
    assert (len(message), hashlib.sha256(message).hexdigest()) == (vector["bytes"], vector["sha256"])


@pytest.mark.parametrize("vector", vectors("invocation"), ids=lambda vector: vector["case"])
def test_texts_signed_for_the_payers_phone(vector) -> None:
    message = join_lines([line.encode() for line in vector["lines"]])
    assert (len(message), hashlib.sha256(message).hexdigest()) == (vector["bytes"], vector["sha256"])


@pytest.mark.parametrize("vector", vectors("aead"), ids=lambda vector: vector["case"])
def test_ciphertexts_of_the_contract(vector) -> None:
    cipher = crypto.ApiKeyCipher(vector["key"].encode())
    sealed = cipher.seal(vector["plaintext"].encode(), vector["associated_data"], vector["nonce"])
    assert sealed == vector["ciphertext"]
    assert cipher.open(sealed, vector["associated_data"], vector["nonce"]) == vector["plaintext"].encode()


# --- the header -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_sdk", "order"),
    [
        ("Python", "mchid nonce_str signature timestamp serial_no"),
        ("Go", "mchid nonce_str timestamp serial_no signature"),
        ("PHP and axios", "mchid serial_no timestamp nonce_str signature"),
        ("any", "signature serial_no nonce_str mchid timestamp"),
    ],
)
@pytest.mark.parametrize("separator", [",", ", ", ",  ", ",\t"], ids=repr)
def test_fields_come_in_any_order_with_blanks_after_commas(_sdk, order, separator) -> None:
    read = signing.parse_authorization(header({name: FIELDS[name] for name in order.split()}, separator=separator))
    assert read == signing.Authorization(
        mchid="1900009191", nonce_str=NONCE, signature="BASE64+/==", timestamp=1554208460, serial_no=SERIAL
    )


@given(
    st.permutations(list(FIELDS)),
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters='"'), min_size=1, max_size=64),
    st.integers(0, 10**12 - 1),
    st.sampled_from(["", " ", "   ", "\t "]),
)
def test_whatever_a_client_writes_is_read_back(order, nonce, timestamp, blanks) -> None:
    fields = FIELDS | {"nonce_str": nonce, "timestamp": str(timestamp)}
    read = signing.parse_authorization(header({name: fields[name] for name in order}, separator="," + blanks))
    assert (read.nonce_str, read.timestamp) == (nonce, timestamp)


def test_commas_equals_and_apostrophes_inside_values_part_nothing() -> None:
    nonce = """a=b,c'd mchid=1, serial_no='x'"""
    assert signing.parse_authorization(header(FIELDS | {"nonce_str": nonce})).nonce_str == nonce


def test_fields_nobody_knows_bear_no_meaning() -> None:
    assert signing.parse_authorization(header(FIELDS | {"version": "3"})).mchid == "1900009191"


@pytest.mark.parametrize("length", [1, 8, 11, 32, 64])
def test_nonces_of_all_sdks_are_taken(length: int) -> None:
    assert signing.parse_authorization(header(FIELDS | {"nonce_str": "n" * length})).nonce_str == "n" * length


@pytest.mark.parametrize(
    "scheme", ["WECHATPAY2-SM2-WITH-SM3", "wechatpay2-sha256-rsa2048", "WECHATPAY2-SHA256-RSA2048,", "Bearer", ""]
)
def test_another_scheme_has_its_own_answer(scheme: str) -> None:
    with pytest.raises(signing.AuthorizationSchemeUnknown):
        signing.parse_authorization(header(FIELDS, scheme=scheme))


GOOD = header(FIELDS)


@pytest.mark.parametrize(
    ("_case", "value", "reason", "field"),
    [
        *[(f"no {name}", header({k: v for k, v in FIELDS.items() if k != name}), "missing", name) for name in FIELDS],
        *[(f"{name} twice", f'{GOOD},{name}="{value}"', "twice", name) for name, value in FIELDS.items()],
        ("an unknown field twice", GOOD + ',a="1",a="1"', "twice", "a"),
        ("nothing", signing.SCHEME + " ", "list", None),
        ("only the scheme", signing.SCHEME, "list", None),
        ("two blanks after the scheme", GOOD.replace(" ", "  "), "list", None),
        ("a comma behind", GOOD + ",", "list", None),
        ("a comma in front", GOOD.replace(" ", " ,"), "list", None),
        ("two commas", GOOD.replace(",", ",,"), "list", None),
        ("a blank before a comma", GOOD.replace(",", " ,"), "comma", None),
        ("semicolons", GOOD.replace(",", ";"), "comma", None),
        ("no quotes", GOOD.replace('"', ""), "list", None),
        ("apostrophes", GOOD.replace('"', "'"), "list", None),
        ("blanks around =", GOOD.replace("=", " = ", 1), "list", None),
        ("a newline behind", GOOD + "\n", "comma", None),
        ("too long", header(FIELDS | {"a": "x" * 5000}), "too long", None),
        ("an empty nonce", header(FIELDS | {"nonce_str": ""}), "form", "nonce_str"),
        ("a nonce of 65", header(FIELDS | {"nonce_str": "n" * 65}), "form", "nonce_str"),
        ("a nonce not ASCII", header(FIELDS | {"nonce_str": "随机"}), "form", "nonce_str"),
        ("a nonce with a newline", header(FIELDS | {"nonce_str": "a\nb"}), "form", "nonce_str"),
        ("an empty signature", header(FIELDS | {"signature": ""}), "form", "signature"),
        ("a negative time", header(FIELDS | {"timestamp": "-1"}), "form", "timestamp"),
        ("a broken time", header(FIELDS | {"timestamp": "1.5"}), "form", "timestamp"),
        ("a time with a zero in front", header(FIELDS | {"timestamp": "01"}), "form", "timestamp"),
        ("a time in other digits", header(FIELDS | {"timestamp": "１５"}), "form", "timestamp"),
        ("an endless time", header(FIELDS | {"timestamp": "9" * 13}), "form", "timestamp"),
        ("a time with a newline", header(FIELDS | {"timestamp": "15\n"}), "form", "timestamp"),
        ("an empty serial", header(FIELDS | {"serial_no": ""}), "form", "serial_no"),
        ("an odd merchant", header(FIELDS | {"mchid": "../1"}), "form", "mchid"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "",
)
def test_a_header_not_in_form_says_what_is_wrong(_case, value, reason, field) -> None:
    with pytest.raises(signing.AuthorizationMalformed) as refusal:
        signing.parse_authorization(value)
    assert reason in refusal.value.facts["reason"]
    assert refusal.value.facts.get("field") == field


@given(st.text(max_size=200))
def test_no_header_at_all_raises_anything_but_a_refusal(text: str) -> None:
    for value in (text, f"{signing.SCHEME} {text}", f"{GOOD},{text}"):
        try:
            signing.parse_authorization(value)
        except signing.SignatureInvalid:
            continue


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (SERIAL, SERIAL, True),
        (SERIAL, SERIAL.lower(), True),
        (SERIAL, "00" + SERIAL, True),
        ("0abc", "ABC", True),
        ("1", "10", False),
        ("PUB_KEY_ID_01", "pub_key_id_01", True),
        ("", "", False),
        ("", "0", False),
        ("0", "00", True),
    ],
)
def test_serials_are_compared_by_what_they_mean(a: str, b: str, same: bool) -> None:
    assert signing.same_serial(a, b) is same
    assert signing.same_serial(b, a) is same


# --- the texts --------------------------------------------------------------------------------------------------------


def texts(target: bytes, body: bytes = b"") -> list[bytes]:
    return signing.request_messages("GET", target, 1, "n", body)


@pytest.mark.parametrize(
    ("_case", "target", "accepted"),
    [
        ("nothing to unescape", b"/v3/a?b=c", [b"/v3/a?b=c"]),
        ("raw on the line", b"/v3/a|b*c@d", [b"/v3/a|b*c@d"]),
        ("escaped on the line", b"/v3/a%7Cb%2Ac%40d", [b"/v3/a%7Cb%2Ac%40d", b"/v3/a|b*c@d"]),
        ("in lower case", b"/v3/a%7cb%2ac", [b"/v3/a%7cb%2ac", b"/v3/a|b*c"]),
        (
            "other escapes stay",
            b"/v3/%E4%BD%A0%2F%7C?x=%20",
            [b"/v3/%E4%BD%A0%2F%7C?x=%20", b"/v3/%E4%BD%A0%2F|?x=%20"],
        ),
        ("not unescaped twice", b"/v3/%257C", [b"/v3/%257C"]),
    ],
)
def test_a_target_counts_raw_or_with_three_characters_unescaped(_case, target, accepted) -> None:
    assert texts(target) == [b"GET\n%s\n1\nn\n\n" % form for form in accepted]


def test_an_empty_object_counts_as_an_empty_body_too_and_nothing_else_does() -> None:
    assert texts(b"/%7C", b"{}") == [
        b"GET\n/%7C\n1\nn\n{}\n",
        b"GET\n/|\n1\nn\n{}\n",
        b"GET\n/%7C\n1\nn\n\n",
        b"GET\n/|\n1\nn\n\n",
    ]
    for body in (b"{ }", b"{}\n", b"[]", b'{"a":1}'):
        assert texts(b"/x", body) == [b"GET\n/x\n1\nn\n%s\n" % body]


def test_the_body_is_taken_byte_for_byte() -> None:
    body = b'\xff\x00{"a": 1}\r\n'
    assert texts(b"/x", body) == [b"GET\n/x\n1\nn\n" + body + b"\n"]


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=60),
    st.integers(0, 10**11),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), min_size=1, max_size=64),
    st.binary(max_size=200),
)
def test_what_a_client_signs_verifies_and_with_one_byte_more_does_not(
    key, method, path, timestamp, nonce, body
) -> None:
    target = b"/" + path.encode()
    signature = crypto.Signer(key, SERIAL).sign_now(
        f"{method}\n{target.decode()}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
    )
    verifier = crypto.Verifier(key.public_key())

    def verifies(raw: bytes) -> bool:
        messages = signing.request_messages(method, target, timestamp, nonce, raw)
        return any(verifier.verify(message, signature) for message in messages)

    assert verifies(body)
    assert not verifies(body + b" ")


# --- explanations -----------------------------------------------------------------------------------------------------

METHOD, TARGET = "POST", b"/v3/pay/transactions/native?b=2&a=%2Fx%7C"
BODY = '{"mchid":"1900009191","description":"红茶 <大杯> & more","notify_url":"https://shop.example/n","amount":{"total":1}}'
SENT = json.loads(BODY)
HOST = "pay.dewpond.example"


def explained(
    key,
    *,
    signed: bytes | None = None,
    signature: str | None = None,
    method: str = METHOD,
    target: bytes = TARGET,
    body: bytes = BODY.encode(),
    **options,
) -> signing.Explanation:
    """The explanation for a request whose client signed the text `signed`."""
    if signature is None:
        assert signed is not None
        signature = crypto.Signer(key, SERIAL).sign_now(signed)
    authorization = signing.Authorization(
        mchid="1900009191", nonce_str=NONCE, signature=signature, timestamp=1554208460, serial_no=SERIAL
    )
    answer = signing.explain(
        method=method,
        raw_target=target,
        authorization=authorization,
        body=body,
        verifier=crypto.Verifier(key.public_key()),
        host=HOST,
        **options,
    )
    assert json.loads(json.dumps(answer)) == answer, "ready for JSON"
    assert "KEY-----" not in json.dumps(answer)
    return answer


def text(
    *,
    method: str = METHOD,
    target: bytes = TARGET,
    timestamp: str = "1554208460",
    nonce: str = NONCE,
    body: str | bytes = BODY,
) -> bytes:
    raw = body if isinstance(body, bytes) else body.encode()
    return join_lines([method.encode(), target, timestamp.encode(), nonce.encode(), raw])


def dumped(**options) -> str:
    return json.dumps(SENT, **options)


COMPACT = {"separators": (",", ":")}
PATH = TARGET.partition(b"?")[0]


@pytest.mark.parametrize(
    ("line", "cause", "signed"),
    [
        ("body", "body_rewritten", text(body=dumped())),
        ("body", "body_rewritten", text(body=dumped(ensure_ascii=False))),
        ("body", "body_rewritten", text(body=dumped(**COMPACT))),
        ("body", "body_rewritten", text(body=dumped(indent=2, ensure_ascii=False))),
        ("body", "body_rewritten", text(body=dumped(indent=4))),
        ("body", "body_rewritten", text(body=dumped(sort_keys=True, ensure_ascii=False, **COMPACT))),
        ("body", "body_rewritten", text(body=dumped(**COMPACT).replace("/", "\\/"))),
        (
            "body",
            "body_rewritten",
            text(body=BODY.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")),
        ),
        ("body", "body_rewritten", text(body=str(SENT))),
        ("body", "body_quoted", text(body=json.dumps(BODY, ensure_ascii=False))),
        ("body", "body_blank_ends", text(body=BODY + "\n")),
        ("body", "body_empty", text(body="")),
        ("body", "body_placeholder", text(body="{}")),
        ("body", "body_is_query", text(body="b=2&a=%2Fx%7C")),
        ("body", "body_charset", text(body=BODY.encode("gbk"))),
        ("body", "body_charset", text(body=BODY.encode("ascii", "replace"))),
        ("body", "body_charset", text(body=BODY.encode().decode("latin-1"))),
        ("body", "body_hashed", text(body=hashlib.sha256(BODY.encode()).hexdigest())),
        ("target", "target_without_query", text(target=PATH)),
        ("target", "target_full_url", text(target=b"https://api.mch.weixin.qq.com" + TARGET)),
        ("target", "target_full_url", text(target=b"http://pay.dewpond.example" + TARGET)),
        ("target", "target_full_url", text(target=b"pay.dewpond.example" + TARGET)),
        ("target", "target_decoded", text(target=b"/v3/pay/transactions/native?b=2&a=/x|")),
        ("target", "target_query_order", text(target=PATH + b"?a=%2Fx%7C&b=2")),
        ("target", "target_escape_case", text(target=PATH + b"?b=2&a=%2fx%7c")),
        ("target", "target_slash", text(target=TARGET[1:])),
        ("target", "target_slash", text(target=PATH + b"/?b=2&a=%2Fx%7C")),
        ("target", "target_prefix", text(target=TARGET.removeprefix(b"/v3"))),
        ("method", "method_case", text(method="post")),
        ("method", "method_case", text(method="Post")),
        ("method", "method_other", text(method="GET")),
        ("timestamp", "timestamp_milliseconds", text(timestamp="1554208460000")),
        ("timestamp", "timestamp_twice", text(timestamp="1554208459")),
        ("timestamp", "timestamp_zone", text(timestamp="1554237260")),
        ("nonce", "nonce_case", text(nonce=NONCE.lower())),
        ("message", "timestamp_nonce_swapped", text(timestamp=NONCE, nonce="1554208460")),
        ("message", "no_final_newline", text()[:-1]),
        ("message", "crlf", text().replace(b"\n", b"\r\n")),
        ("message", "literal_backslash_n", text().replace(b"\n", b"\\n")),
        ("message", "no_newlines", text().replace(b"\n", b"")),
        ("message", "callback_form", signing.answer_message(1554208460, NONCE, BODY.encode())),
        ("message", "hashed_twice", hashlib.sha256(text()).digest()),
        ("message", "hashed_twice", hashlib.sha256(text()).hexdigest().encode()),
    ],
)
def test_a_single_mistake_is_named_and_proved(key, line, cause, signed) -> None:
    answer = explained(key, signed=signed)
    assert answer["verdict"] == "difference_found"
    (difference,) = answer["differences"]
    assert (difference["line"], difference["cause"]) == (line, cause)
    assert difference["problem"]
    assert difference["ours"] != difference["yours"]
    assert answer["signed_sha256"] == hashlib.sha256(signed).hexdigest()


def test_a_target_escaped_only_for_signing_is_told(key) -> None:
    answer = explained(key, signed=text(target=b"/v3/a%3Ab"), target=b"/v3/a:b")
    assert [difference["cause"] for difference in answer["differences"]] == ["target_encoded"]


def test_both_sides_of_a_difference_are_shown(key) -> None:
    answer = explained(key, signed=text(target=PATH))
    assert answer["differences"][0]["ours"] == TARGET.decode()
    assert answer["differences"][0]["yours"] == PATH.decode()
    assert answer["sign_message"] == text().decode()
    assert answer["sign_message_bytes"] == len(text())
    assert answer["sign_message_sha256"] == hashlib.sha256(text()).hexdigest()
    assert [line["line"] for line in answer["lines"]] == ["method", "target", "timestamp", "nonce", "body"]
    assert [line["text"] for line in answer["lines"]] == [METHOD, TARGET.decode(), "1554208460", NONCE, BODY]


@pytest.mark.parametrize(
    ("causes", "signed"),
    [
        ({"target_without_query", "body_rewritten"}, text(target=PATH, body=dumped())),
        ({"no_final_newline", "body_rewritten"}, text(body=dumped(**COMPACT))[:-1]),
        ({"target_full_url", "method_case"}, text(target=b"https://api.mch.weixin.qq.com" + TARGET, method="post")),
        ({"target_without_query", "body_is_query"}, text(target=PATH, body="b=2&a=%2Fx%7C")),
        ({"timestamp_twice", "body_empty"}, text(timestamp="1554208461", body="")),
    ],
)
def test_two_mistakes_at_once_are_both_named(key, causes, signed) -> None:
    answer = explained(key, signed=signed)
    assert answer["verdict"] == "difference_found"
    assert {difference["cause"] for difference in answer["differences"]} == causes


def test_an_upload_signed_whole_is_told(key) -> None:
    meta, whole = b'{"filename":"a.jpg"}', b"--x\r\n...binary...\xff\r\n--x--"
    answer = explained(key, signed=text(body=whole), body=meta, wire_body=whole)
    assert answer["differences"][0]["cause"] == "body_whole_upload"


def test_the_right_key_over_an_unknown_text_is_told_from_a_wrong_key(key, other_key) -> None:
    answer = explained(key, signed=text(nonce="another nonce altogether"))
    assert answer["verdict"] == "other_text"
    assert answer["differences"] == []
    assert answer["signed_sha256"] in answer["check"][0]
    stranger = explained(key, signature=crypto.Signer(other_key, "X").sign_now(text()))
    assert stranger["verdict"] == "other_key"
    assert stranger["signed_sha256"] is None
    assert SERIAL in stranger["check"][0]


def test_a_signature_of_the_merchants_other_certificate_is_told(key, other_key) -> None:
    other = {SERIAL.lower(): crypto.Verifier(key.public_key()), "ABC123": crypto.Verifier(other_key.public_key())}
    signature = crypto.Signer(other_key, "X").sign_now(text())
    answer = explained(key, signature=signature, other_verifiers=other)
    assert answer["verdict"] == "other_certificate"
    (difference,) = answer["differences"]
    assert (difference["line"], difference["ours"], difference["yours"]) == ("serial_no", SERIAL, "ABC123")


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    ("cause", "sign"),
    [
        ("other_hash", lambda key: encoded(key.sign(text(), padding.PKCS1v15(), hashes.SHA1()))),  # noqa: S303 - the mistake itself
        ("other_hash", lambda key: encoded(key.sign(text(), padding.PKCS1v15(), hashes.SHA512()))),
        ("other_hash", lambda key: encoded(key.sign(text(), padding.PKCS1v15(), hashes.SHA224()))),
        (
            "pss_padding",
            lambda key: encoded(key.sign(text(), padding.PSS(padding.MGF1(hashes.SHA256()), 20), hashes.SHA256())),
        ),
        (
            "bare_digest",
            lambda key: encoded(key.sign(hashlib.sha256(text()).digest(), padding.PKCS1v15(), utils.NoDigestInfo())),
        ),
        ("signature_hex", lambda key: base64.b64decode(crypto.Signer(key, "").sign_now(text())).hex()),
        ("signature_unpadded", lambda key: crypto.Signer(key, "").sign_now(text()).rstrip("=")),
        ("signature_blanks", lambda key: " ".join(crypto.Signer(key, "").sign_now(text()).partition("A"))),
    ],
)
def test_a_signature_made_or_written_another_way_is_told(key, cause, sign) -> None:
    answer = explained(key, signature=sign(key))
    assert answer["verdict"] == "difference_found"
    assert [difference["cause"] for difference in answer["differences"]] == [cause]


def test_the_url_alphabet_is_told(key) -> None:
    signatures = (crypto.Signer(key, "").sign_now(text(nonce=str(number))) for number in range(50))
    signature = next(signature for signature in signatures if "+" in signature or "/" in signature)
    answer = explained(key, signature=signature.replace("+", "-").replace("/", "_"))
    assert "signature_base64url" in [difference["cause"] for difference in answer["differences"]]


def test_mistakes_of_dress_and_of_text_are_told_together(key) -> None:
    signature = encoded(key.sign(text(target=PATH), padding.PKCS1v15(), hashes.SHA1())).rstrip("=")  # noqa: S303 - the mistake itself
    answer = explained(key, signature=signature)
    causes = [difference["cause"] for difference in answer["differences"]]
    assert causes == ["signature_unpadded", "other_hash", "target_without_query"]
    assert answer["signed_sha256"] is None


def test_a_signature_in_order_needs_no_explanation(key) -> None:
    for signed in (text(), text(target=TARGET.replace(b"%7C", b"|"))):
        answer = explained(key, signed=signed)
        assert (answer["verdict"], answer["differences"]) == ("verifies", [])


@pytest.mark.parametrize("signature", ["?", "签名", "A", "=", "WECHATPAY/SIGNTEST/x", "A" * 344, "ff" * 256])
def test_garbage_for_a_signature_is_explained_too(key, signature: str) -> None:
    answer = explained(key, signature=signature)
    assert answer["verdict"] == "other_key"
    assert answer["check"]


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe\x00",
        b"[" * 4000,
        b"[" * 900 + b"]" * 900,
        b"9" * 6000,
        b'{"a":1e999,"b":NaN}',
        b'"\\ud800"',
        b'{"\\ud800":"\\udfff"}',
        b"x" * 3_000_000,
        b"",
        b"{}",
    ],
    ids=lambda body: repr(body[:10]),
)
def test_no_body_makes_the_explanation_itself_fail(key, body: bytes) -> None:
    answer = explained(key, signed=b"something else", body=body)
    assert answer["verdict"] == "other_text"
    assert len(json.dumps(answer)) < 600_000


@given(st.binary(max_size=60), st.binary(max_size=80))
def test_no_request_makes_the_explanation_itself_fail(key, target: bytes, body: bytes) -> None:
    assert explained(key, signed=b"something else", target=target, body=body)["verdict"] == "other_text"
