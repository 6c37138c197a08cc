"""API certificates: made from the merchant's own request, bearing our name for it, trusted until revoked."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from dewpond import merchants
from dewpond.kit import crypto, worlds
from dewpond.kit.crypto import CsrRefused
from dewpond.kit.db import Database, Tx
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import WorldKind
from dewpond.merchants import CertificateNotFound, Merchant

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
async def shops(database: Database, secrets: MasterKeys) -> tuple[Merchant, Merchant]:
    """Two merchants in a sandbox."""
    async with database.transaction() as tx:
        await worlds.create_world(tx, WorldKind.SANDBOX, public_url="http://localhost:8601", wall_now=NOON)
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=NOON)
        made = [
            (await merchants.onboard_merchant(tx, name, secrets=secrets, wall_now=NOON)).merchant
            for name in ("Tea Shop", "Coffee Shop")
        ]
    return made[0], made[1]


@pytest.fixture(scope="module")
def tea(shops: tuple[Merchant, Merchant]) -> Merchant:
    return shops[0]


@pytest.fixture(scope="module")
def coffee(shops: tuple[Merchant, Merchant]) -> Merchant:
    return shops[1]


@pytest.fixture(scope="module")
def csr(merchant_key_pem: bytes) -> bytes:
    return crypto.certificate_signing_request(merchant_key_pem, "whatever it calls itself")


async def issue(
    database: Database, merchant: Merchant, csr: bytes, secrets: MasterKeys, wall_now: datetime = NOON
) -> merchants.Certificate:
    async with database.transaction() as tx:
        return await merchants.issue_certificate(tx, merchant, csr, secrets=secrets, wall_now=wall_now)


# --- issuing ----------------------------------------------------------------------------------------------------------


async def test_a_certificate_speaks_for_the_merchants_own_key_under_our_name_for_it(
    database: Database, tea: Merchant, csr: bytes, merchant_key_pem: bytes, secrets: MasterKeys
) -> None:
    issued = await issue(database, tea, csr, secrets)
    parsed = crypto.parse_certificate(issued.pem.encode())
    assert [name.value for name in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == [tea.number]
    key = crypto.parse_private_key(merchant_key_pem)
    assert crypto.certified_key(parsed).public_numbers() == key.public_key().public_numbers()
    assert (issued.not_before, issued.not_after) == (parsed.not_valid_before_utc, parsed.not_valid_after_utc)
    assert issued.not_before <= NOON < NOON + timedelta(days=5 * 365 - 1) < issued.not_after
    async with database.transaction() as tx:
        authority = await tx.connection.fetchval("select pem from merchants.authorities")
        parsed.verify_directly_issued_by(crypto.parse_certificate(authority.encode()))
        assert issued in await merchants.list_certificates(tx, tea.id)


async def test_every_serial_has_the_form_all_software_agrees_on(
    database: Database, coffee: Merchant, csr: bytes, secrets: MasterKeys
) -> None:
    """Forty digits whichever way a library writes them: with 0 in front some write 39, with 8 to F others 42."""
    issued = [await issue(database, coffee, csr, secrets, NOON + timedelta(seconds=n)) for n in range(25)]
    for certificate in issued:
        assert re.fullmatch(r"[1-7][0-9A-F]{39}", certificate.serial)
        number = crypto.parse_certificate(certificate.pem.encode()).serial_number
        assert f"{number:X}" == f"{number:x}".upper() == f"{number:040X}" == certificate.serial
    assert len({certificate.serial for certificate in issued}) == 25
    async with database.transaction() as tx:
        listed = await merchants.list_certificates(tx, coffee.id)
    assert [one for one in listed if one in issued] == issued


def request_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shop")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


def forged(csr: bytes) -> bytes:
    """The same request with another signature: whoever sends it does not hold the key."""
    der = bytearray(x509.load_pem_x509_csr(csr).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("nothing", "not a PEM"),
        ("words", "not a PEM"),
        ("the private key itself", "not a PEM"),
        ("a certificate", "not a PEM"),
        ("too long", "too long"),
        ("an elliptic curve", "not RSA"),
        ("a short key", "1024 bits"),
        ("an odd exponent", "exponent"),
        ("somebody else's key", "does not verify"),
    ],
)
async def test_a_bad_request_is_refused_and_leaves_nothing(
    database: Database, tea: Merchant, csr: bytes, merchant_key_pem: bytes, secrets: MasterKeys, case: str, reason: str
) -> None:
    requests: dict[str, Callable[[], bytes]] = {
        "nothing": lambda: b"",
        "words": lambda: b"please",
        "the private key itself": lambda: merchant_key_pem,
        "a certificate": lambda: crypto.new_authority("not a request", NOON)[0],
        "too long": lambda: csr + b"\n" * 20_000,
        "an elliptic curve": lambda: request_of(ec.generate_private_key(ec.SECP256R1())),
        "a short key": lambda: request_of(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - that is the case
        "an odd exponent": lambda: request_of(rsa.generate_private_key(3, 2048)),
        "somebody else's key": lambda: forged(csr),
    }
    async with database.transaction() as tx:
        before = await merchants.list_certificates(tx, tea.id)
        with pytest.raises(CsrRefused) as refused:
            await merchants.issue_certificate(tx, tea, requests[case](), secrets=secrets, wall_now=NOON)
        assert reason in str(refused.value.facts["reason"])
        assert "PRIVATE" not in str(refused.value)
        assert await merchants.list_certificates(tx, tea.id) == before


async def recognise(tx: Tx, number: str, serial: str) -> merchants.Recognised | None:
    """What the door of the wire knows of a request."""
    claim = merchants.Claim(number=number, serial=serial, key_id="", appid="")
    (known,) = await merchants.recognise(tx, [claim], wall_now=NOON)
    return known


async def find_caller(tx: Tx, number: str, serial: str) -> merchants.Caller | None:
    """Who the door of the wire takes a request for."""
    known = await recognise(tx, number, serial)
    return known and known.caller


# --- revoking ---------------------------------------------------------------------------------------------------------


async def test_a_revoked_certificate_is_known_as_revoked(
    database: Database, tea: Merchant, csr: bytes, secrets: MasterKeys
) -> None:
    one, other = [await issue(database, tea, csr, secrets) for _ in range(2)]
    async with database.transaction() as tx:
        await merchants.revoke_certificate(tx, tea.id, one.serial, wall_now=NOON + timedelta(hours=1))
    async with database.transaction() as tx:
        known = {certificate.serial: certificate for certificate in await merchants.list_certificates(tx, tea.id)}
        caller = await find_caller(tx, tea.number, one.serial)
        still = await find_caller(tx, tea.number, other.serial)
    assert known[one.serial].revoked_at == NOON + timedelta(hours=1)
    assert known[other.serial].revoked_at is None
    assert caller is not None
    assert caller.revoked_at == NOON + timedelta(hours=1)
    assert still is not None
    assert still.revoked_at is None


@pytest.mark.parametrize("case", ["revoked already", "another merchant's", "unknown", "in small letters"])
async def test_only_a_merchants_own_trusted_certificate_can_be_revoked(
    database: Database, tea: Merchant, coffee: Merchant, csr: bytes, secrets: MasterKeys, case: str
) -> None:
    mine, theirs = await issue(database, tea, csr, secrets), await issue(database, coffee, csr, secrets)
    at = NOON + timedelta(hours=1)
    async with database.transaction() as tx:
        if case == "revoked already":
            await merchants.revoke_certificate(tx, tea.id, mine.serial, wall_now=NOON)
        serial = {
            "revoked already": mine.serial,
            "another merchant's": theirs.serial,
            "unknown": "7" * 40,
            "in small letters": "1" + "a" * 39,
        }[case]
        with pytest.raises(CertificateNotFound):
            await merchants.revoke_certificate(tx, tea.id, serial, wall_now=at)
        listed = [*await merchants.list_certificates(tx, tea.id), *await merchants.list_certificates(tx, coffee.id)]
    assert at not in {certificate.revoked_at for certificate in listed if certificate.serial == serial}


# --- who calls --------------------------------------------------------------------------------------------------------


async def test_a_caller_is_known_with_its_certificate_and_the_worlds_clock(
    database: Database, tea: Merchant, csr: bytes, secrets: MasterKeys
) -> None:
    issued = await issue(database, tea, csr, secrets)
    async with database.transaction() as tx:
        known = await recognise(tx, tea.number, issued.serial)
        assert known is not None
        caller = known.caller
        assert (caller.merchant_id, caller.number) == (tea.id, tea.number)
        assert (caller.pem, caller.not_before, caller.not_after) == (issued.pem, issued.not_before, issued.not_after)
        assert caller.fee_rate_bp == tea.fee_rate_bp
        assert known.world.is_sandbox
        assert known.world.time(NOON).world == NOON
        await worlds.move_clock(tx, NOON + timedelta(days=400), wall_now=NOON)
        frozen = await worlds.freeze_clock(tx, wall_now=NOON)
        later = await recognise(tx, tea.number, issued.serial)
        assert later is not None
        assert later.world.time(NOON + timedelta(hours=1)).world == frozen.frozen_at
        await tx.connection.execute("update kit.worlds set clock_offset = '0', frozen_at = null")


async def test_a_serial_counts_only_with_its_own_merchant(
    database: Database, tea: Merchant, coffee: Merchant, csr: bytes, secrets: MasterKeys
) -> None:
    theirs = await issue(database, coffee, csr, secrets)
    async with database.transaction() as tx:
        for serial in (theirs.serial, "7" * 40, "", "no serial at all"):
            caller = await find_caller(tx, tea.number, serial)
            assert caller is not None
            assert (caller.merchant_id, caller.pem) == (tea.id, None)
        for number in ("1600000000000", "", "0", tea.text_id):
            assert await find_caller(tx, number, theirs.serial) is None
