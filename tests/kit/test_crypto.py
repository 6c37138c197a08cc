"""Keys, signatures, ciphertexts and certificates."""

import asyncio
import base64
import os
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from dewpond.kit import crypto

WALL_NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)


@pytest.fixture(scope="session")
def key_pem() -> bytes:
    return crypto.new_private_key_pem()


@pytest.fixture(scope="session")
def key(key_pem: bytes) -> crypto.PrivateKey:
    return crypto.parse_private_key(key_pem)


@pytest.fixture(scope="session")
def other_key() -> crypto.PrivateKey:
    return crypto.parse_private_key(crypto.new_private_key_pem())


@pytest.fixture(scope="session")
def authority() -> tuple[bytes, bytes]:
    return crypto.new_authority("Dewpond test authority", WALL_NOW)


# --- signer and verifier ----------------------------------------------------------------------------------------------


async def test_a_signature_verifies_with_its_own_key_and_text_only(key, other_key) -> None:
    signature = await crypto.Signer(key, "A1").sign(b"hello\n")
    assert crypto.Verifier(key.public_key()).verify(b"hello\n", signature)
    assert not crypto.Verifier(key.public_key()).verify(b"hello", signature)
    assert not crypto.Verifier(other_key.public_key()).verify(b"hello\n", signature)


async def test_signing_in_a_thread_gives_what_signing_now_gives(key) -> None:
    signer = crypto.Signer(key, "A1")
    assert await signer.sign(b"x") == signer.sign_now(b"x")


async def test_many_signatures_at_once_each_belong_to_their_key_and_text(key, other_key) -> None:
    for _ in range(3):  # the desk is empty in between
        asked = [(each, b"%d" % number) for number in range(30) for each in (key, other_key)]
        signatures = await asyncio.gather(*[crypto.Signer(each, "A1").sign(text) for each, text in asked])
        for (each, text), signature in zip(asked, signatures, strict=True):
            assert crypto.Verifier(each.public_key()).verify(text, signature)


async def test_who_goes_away_leaves_the_others_their_signatures(key) -> None:
    signer = crypto.Signer(key, "A1")
    tasks = [asyncio.create_task(signer.sign(b"hello")) for _ in range(10)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert {each for each in ended if isinstance(each, str)} == {signer.sign_now(b"hello")}
    assert sum(isinstance(each, str) for each in ended) == 5


def garbage_made_of(good: str) -> list[tuple[str, str]]:
    raw = base64.b64decode(good)
    return [
        ("empty", ""),
        ("not base64", "!!!"),
        ("Chinese", "签名"),
        ("a lone surrogate", "\udc80"),
        ("without padding", good.rstrip("=")),
        ("too much padding", good + "="),
        ("a newline behind", good + "\n"),
        ("a blank inside", good[:10] + " " + good[10:]),
        ("the URL alphabet", base64.urlsafe_b64encode(b"\xfb\xff" * 128).decode()),
        ("stray low bits", good[:-3] + chr(ord(good[-3]) + 1) + "=="),
        ("hex", raw.hex()),
        ("one byte short", base64.b64encode(raw[:-1]).decode()),
        ("one byte long", base64.b64encode(raw + b"\0").decode()),
        ("zeros", base64.b64encode(bytes(256)).decode()),
        ("beyond the modulus", base64.b64encode(b"\xff" * 256).decode()),
        ("a probe", "WECHATPAY/SIGNTEST/" + good[19:]),
    ]


def test_garbage_is_not_a_signature_and_raises_nothing(key) -> None:
    good = crypto.Signer(key, "A1").sign_now(b"x")
    verifier = crypto.Verifier(key.public_key())
    assert verifier.verify(b"x", good)
    for case, garbage in garbage_made_of(good):
        assert garbage != good, case
        assert not verifier.verify(b"x", garbage), case


@given(st.text())
def test_no_text_at_all_makes_the_verifier_raise(key, text: str) -> None:
    assert not crypto.Verifier(key.public_key()).verify(b"x", text)


def test_what_was_signed_can_be_recovered_with_the_right_key_only(key, other_key) -> None:
    signature = base64.b64decode(crypto.Signer(key, "A1").sign_now(b"x"))
    digest = hashes.Hash(hashes.SHA256())
    digest.update(b"x")
    assert crypto.Verifier(key.public_key()).recover(signature) == ("sha256", digest.finalize())
    assert crypto.Verifier(other_key.public_key()).recover(signature) is None
    assert crypto.Verifier(key.public_key()).recover(b"") is None


def test_pss_is_told_apart_from_nothing_at_all(key) -> None:
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    signature = key.sign(b"x", pss, hashes.SHA256())
    verifier = crypto.Verifier(key.public_key())
    assert verifier.verify_pss(b"x", signature)
    assert not verifier.verify_pss(b"y", signature)
    assert not verifier.verify(b"x", base64.b64encode(signature).decode())


# --- encryptor and decryptor ------------------------------------------------------------------------------------------


async def test_a_sensitive_field_comes_back(key) -> None:
    encryptor, decryptor = crypto.Encryptor(key.public_key(), "A1"), crypto.Decryptor(key, "A1")
    ciphertext = encryptor.encrypt("张三 ¥")
    assert len(ciphertext) == 344
    assert ciphertext != encryptor.encrypt("张三 ¥")
    assert await decryptor.decrypt(ciphertext) == decryptor.decrypt_now(ciphertext) == "张三 ¥"


def test_214_bytes_fit_and_one_more_does_not(key) -> None:
    encryptor = crypto.Encryptor(key.public_key(), "A1")
    assert encryptor.longest == 214
    assert crypto.Decryptor(key, "A1").decrypt_now(encryptor.encrypt("x" * 214)) == "x" * 214
    with pytest.raises(ValueError, match="214"):
        encryptor.encrypt("x" * 215)


def test_a_field_closed_for_another_is_refused_as_any_garbage_is(key, other_key) -> None:
    sha1 = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - the wire demands SHA-1 here
    not_utf8 = base64.b64encode(key.public_key().encrypt(b"\xff\xfe", sha1)).decode()
    for ciphertext in (crypto.Encryptor(other_key.public_key(), "B2").encrypt("x"), "", "AAAA", "?", not_utf8):
        with pytest.raises(crypto.CiphertextInvalid):
            crypto.Decryptor(key, "A1").decrypt_now(ciphertext)


# --- the APIv3 key ----------------------------------------------------------------------------------------------------

API_V3_KEY = b"0123456789abcdef0123456789ABCDEF"


@pytest.mark.parametrize(
    ("associated_data", "ciphertext"),
    [("transaction", "VlheH32RZrRONVQfoDlikGujmXxuX2U="), ("", "VlheH32RZiSKAGb+7tgMfUZmV7NdkZw=")],
)
def test_the_vectors_of_the_contract(associated_data: str, ciphertext: str) -> None:
    cipher = crypto.ApiKeyCipher(API_V3_KEY)
    assert cipher.seal(b'{"a":1}', associated_data, "0f1e2d3c4b5a") == ciphertext
    assert cipher.open(ciphertext, associated_data, "0f1e2d3c4b5a") == b'{"a":1}'


@given(st.binary(max_size=500), st.text(st.characters(codec="utf-8"), max_size=40))
def test_whatever_is_sealed_opens_again(plaintext: bytes, associated_data: str) -> None:
    cipher, nonce = crypto.ApiKeyCipher(API_V3_KEY), crypto.new_aead_nonce()
    assert cipher.open(cipher.seal(plaintext, associated_data, nonce), associated_data, nonce) == plaintext


@pytest.mark.parametrize(
    ("_case", "key_bytes", "ciphertext", "associated_data", "nonce"),
    [
        ("another key", b"x" * 32, "VlheH32RZrRONVQfoDlikGujmXxuX2U=", "transaction", "0f1e2d3c4b5a"),
        ("altered", API_V3_KEY, "VlheH32RZrRONVQfoDlikGujmXxuX2V=", "transaction", "0f1e2d3c4b5a"),
        ("other data", API_V3_KEY, "VlheH32RZrRONVQfoDlikGujmXxuX2U=", "refund", "0f1e2d3c4b5a"),
        ("other nonce", API_V3_KEY, "VlheH32RZrRONVQfoDlikGujmXxuX2U=", "transaction", "0f1e2d3c4b5b"),
        ("no nonce", API_V3_KEY, "VlheH32RZrRONVQfoDlikGujmXxuX2U=", "transaction", ""),
        ("shorter than a tag", API_V3_KEY, "AAAA", "transaction", "0f1e2d3c4b5a"),
        ("not base64", API_V3_KEY, "%", "transaction", "0f1e2d3c4b5a"),
    ],
)
def test_what_does_not_belong_together_does_not_open(_case, key_bytes, ciphertext, associated_data, nonce) -> None:
    with pytest.raises(crypto.CiphertextInvalid):
        crypto.ApiKeyCipher(key_bytes).open(ciphertext, associated_data, nonce)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_an_api_v3_key_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        crypto.ApiKeyCipher(b"x" * length)


def test_nonces_have_their_length_and_do_not_repeat() -> None:
    for make, length in ((crypto.new_nonce, 32), (crypto.new_aead_nonce, 12)):
        made = {make() for _ in range(2000)}
        assert len(made) == 2000
        assert {len(nonce) for nonce in made} == {length}
        assert all(nonce.isascii() and nonce.isprintable() for nonce in made)


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_parsed_once(key_pem: bytes) -> None:
    assert crypto.parse_private_key(key_pem) is crypto.parse_private_key(bytes(key_pem))
    assert crypto.parse_private_key.cache_info().maxsize is not None


def test_new_keys_are_what_every_sdk_reads(key_pem: bytes, key) -> None:
    assert key_pem.startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert (key.key_size, key.public_key().public_numbers().e) == (2048, 65537)
    assert crypto.parse_public_key(crypto.public_key_pem(key)).public_numbers() == key.public_key().public_numbers()


def test_what_is_no_rsa_key_is_refused_without_being_quoted(key) -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    locked = key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"secret"))
    for pem in (
        b"",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        curve.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()),
        locked,
    ):
        with pytest.raises(ValueError, match="private key") as refusal:
            crypto.parse_private_key(pem)
        assert "AAAA" not in str(refusal.value)
    with pytest.raises(ValueError, match="public key"):
        crypto.parse_public_key(b"nothing")
    with pytest.raises(ValueError, match="certificate"):
        crypto.parse_certificate(b"nothing")


def test_signers_and_decryptors_do_not_print_their_keys(key) -> None:
    assert repr(crypto.Signer(key, "A1")) == "Signer(A1)"
    assert repr(crypto.Decryptor(key, "A1")) == "Decryptor(A1)"


# --- certificates -----------------------------------------------------------------------------------------------------


def issue(authority: tuple[bytes, bytes], csr: bytes, **changed) -> x509.Certificate:
    asked = {"common_name": "1900009191", "wall_now": WALL_NOW, "valid_days": 365} | changed
    return crypto.parse_certificate(crypto.issue_certificate(*authority, csr, **asked))


def common_name(name: x509.Name) -> str:
    return str(name.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def test_a_request_is_answered_with_a_certificate_the_authority_signed(authority, key_pem, key) -> None:
    certificate = issue(authority, crypto.certificate_signing_request(key_pem, "1900009191"))
    certificate.verify_directly_issued_by(crypto.parse_certificate(authority[0]))
    assert crypto.certified_key(certificate).public_numbers() == key.public_key().public_numbers()
    assert common_name(certificate.subject) == "1900009191"
    assert common_name(certificate.issuer) == "Dewpond test authority"
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_the_name_is_the_callers_whatever_the_request_says(authority, key_pem) -> None:
    certificate = issue(authority, crypto.certificate_signing_request(key_pem, "1900000001"))
    assert [str(part.value) for part in certificate.subject] == ["1900009191"]


def test_extensions_a_request_asks_for_are_not_granted(authority, key) -> None:
    greedy = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "1900009191")]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("api.mch.weixin.qq.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate = issue(authority, greedy.public_bytes(serialization.Encoding.PEM))
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    with pytest.raises(x509.ExtensionNotFound):
        certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_it_is_valid_from_a_minute_ago_and_never_outlives_the_authority(authority, key_pem) -> None:
    csr = crypto.certificate_signing_request(key_pem, "1900009191")
    certificate = issue(authority, csr, valid_days=30)
    whole = WALL_NOW.replace(microsecond=0)
    assert certificate.not_valid_before_utc == whole - timedelta(minutes=1)
    assert certificate.not_valid_after_utc == whole + timedelta(days=30)
    forever = issue(authority, csr, valid_days=99 * 365)
    assert forever.not_valid_after_utc == crypto.parse_certificate(authority[0]).not_valid_after_utc


def test_serials_have_forty_digits_in_every_sdk() -> None:
    for _ in range(500):
        serial = crypto.new_serial()
        assert len(f"{serial:X}") == 40  # Java and Go print no leading zeros
        assert serial.to_bytes(20, "big")[0] >> 4 in range(1, 8)  # and no 21st byte is needed for the sign


def test_a_serial_is_written_as_the_wire_has_it(authority) -> None:
    certificate = crypto.parse_certificate(authority[0])
    text = crypto.serial_text(certificate)
    assert len(text) == 40
    assert text == text.upper()
    assert int(text, 16) == certificate.serial_number


def test_the_authority_may_sign_certificates_and_nothing_below_it_may(authority) -> None:
    certificate = crypto.parse_certificate(authority[0])
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)


def test_a_request_with_a_false_signature_is_refused(authority, key_pem) -> None:
    request = x509.load_pem_x509_csr(crypto.certificate_signing_request(key_pem, "1900009191"))
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = b"-----BEGIN CERTIFICATE REQUEST-----\n%s\n-----END CERTIFICATE REQUEST-----\n" % base64.b64encode(der)
    with pytest.raises(crypto.CsrRefused, match="signature"):
        issue(authority, forged)


@pytest.mark.parametrize(
    ("_case", "make", "reason"),
    [
        ("too small", lambda: rsa.generate_private_key(65537, 1024), "1024 bits"),  # noqa: S505 - that is the point
        ("exponent 3", lambda: rsa.generate_private_key(3, 2048), "exponent"),
        ("a curve", lambda: ec.generate_private_key(ec.SECP256R1()), "not RSA"),
    ],
)
def test_a_request_for_a_bad_key_is_refused(authority, _case, make, reason) -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "1900009191")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(make(), hashes.SHA256())
    with pytest.raises(crypto.CsrRefused, match=reason):
        issue(authority, request.public_bytes(serialization.Encoding.PEM))


@pytest.mark.parametrize(
    "csr", [b"", b"nonsense", b"x" * 20_000, os.urandom(100)], ids=["none", "text", "long", "noise"]
)
def test_what_is_no_request_is_refused(authority, csr: bytes) -> None:
    with pytest.raises(crypto.CsrRefused):
        issue(authority, csr)


def test_an_authority_with_anothers_key_issues_nothing(authority, key_pem) -> None:
    with pytest.raises(ValueError, match="pair"):
        issue((authority[0], key_pem), crypto.certificate_signing_request(key_pem, "1900009191"))


def test_a_time_without_a_zone_is_our_own_mistake(authority, key_pem) -> None:
    csr = crypto.certificate_signing_request(key_pem, "1900009191")
    with pytest.raises((ValueError, TypeError)):
        issue(authority, csr, wall_now=WALL_NOW.replace(tzinfo=None))
