"""Cryptography in four roles, and the certificates that say whose keys they are.

A signer signs and a verifier believes; an encryptor closes and a decryptor opens. All four are RSA of 2048 bits or
more, as WeChat's wire has them; `ApiKeyCipher` is the symmetric one of the same wire. The second half is X.509: key
pairs, certificate requests, and a small authority that answers requests. Nothing here reads a clock or a database.
"""

import asyncio
import base64
import binascii
import os
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dewpond.kit.failures import Failure, Kind

T = TypeVar("T")

PrivateKey = rsa.RSAPrivateKey
PublicKey = rsa.RSAPublicKey

#: RSA's private operations take most of a millisecond and let go of the interpreter lock: they run here, off the loop.
THREADS: Final = os.cpu_count() or 1
_POOL: Final = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="dewpond-crypto")

_PKCS1: Final = padding.PKCS1v15()
_SHA256: Final = hashes.SHA256()
_PSS: Final = padding.PSS(padding.MGF1(_SHA256), padding.PSS.AUTO)
#: SHA-1 is what the wire prescribes for sensitive fields; inside OAEP its collisions do no harm.
_OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303

#: How a PKCS#1 signature names the hash it was made over (the DER in front of the digest, RFC 8017 section 9.2).
_DIGEST_NAMES: Final = {
    bytes.fromhex("3020300c06082a864886f70d020505000410"): "md5",
    bytes.fromhex("3021300906052b0e03021a05000414"): "sha1",
    bytes.fromhex("3031300d060960864801650304020105000420"): "sha256",
    bytes.fromhex("3041300d060960864801650304020205000430"): "sha384",
    bytes.fromhex("3051300d060960864801650304020305000440"): "sha512",
}

#: Nonces drawn and not yet given. Each draw lets go of the interpreter lock, and among busy threads it comes back late.
_NONCES: Final[deque[str]] = deque()
_DRAWN: Final = 128

_REQUEST_LIMIT: Final = 16 * 1024
_BACKDATE: Final = timedelta(minutes=1)
_AUTHORITY_DAYS: Final = 20 * 365


class CiphertextInvalid(Failure):
    """This ciphertext does not open with this key."""

    code, kind = "ciphertext_invalid", Kind.INVALID


class CsrRefused(Failure):
    """This certificate request cannot be answered."""

    code, kind = "csr_refused", Kind.INVALID


async def _off_the_loop(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(_POOL, work)


def _strict_base64(text: str) -> bytes | None:
    """Standard alphabet, padded, one spelling per value; anything else is None."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if base64.b64encode(raw).decode() == text else None


# --- the four roles ---------------------------------------------------------------------------------------------------


class Signer:
    """Signs with one private key, named by `key_id` (a certificate serial or a public key id)."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key: PrivateKey, key_id: str) -> None:
        self._key = key
        self.key_id = key_id

    async def sign(self, message: bytes) -> str:
        """Base64 of the RSASSA-PKCS1-v1_5 SHA-256 signature, made in a thread so that the loop goes on.

        Those that are asked for at the same time share their way there: a way costs half as much as a signature.
        """
        desk = _desks.setdefault(asyncio.get_running_loop(), _Desk())
        return await desk.sign(Unsigned(self, message))

    def sign_now(self, message: bytes) -> str:
        """The same in the calling thread: about a millisecond of it."""
        return base64.b64encode(self._key.sign(message, _PKCS1, _SHA256)).decode()

    def __repr__(self) -> str:
        return f"Signer({self.key_id})"


class Unsigned(msgspec.Struct, frozen=True):
    """A message that waits for its signature."""

    signer: Signer
    message: bytes


async def sign_all(unsigned: Sequence[Unsigned]) -> list[str]:
    """Several signatures for one hop to a thread, in order."""
    return await _off_the_loop(lambda: [each.signer.sign_now(each.message) for each in unsigned])


class _Desk:
    """Where what waits for its signature is gathered while the threads are busy; one per loop."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Unsigned, asyncio.Future[str]]] = deque()
        self._working = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def sign(self, unsigned: Unsigned) -> str:
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((unsigned, future))
        if self._working < THREADS:
            self._working += 1
            work = asyncio.create_task(self._work())
            self._tasks.add(work)
            work.add_done_callback(self._tasks.discard)
        return await future

    async def _work(self) -> None:
        try:
            await self._work_until_empty()
        finally:  # in the same step as the look at the empty desk, so that nothing can slip between
            self._working -= 1

    async def _work_until_empty(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft() for _ in range(min(_TOGETHER, -(-len(self._waiting) // THREADS)))]
            try:
                signatures = await sign_all([unsigned for unsigned, _ in taken])
            except Exception as error:  # noqa: BLE001 - handed to those who wait for it
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), signature in zip(taken, signatures, strict=True):
                if not future.done():
                    future.set_result(signature)


#: How many signatures one way to a thread is for: some four milliseconds of work.
_TOGETHER: Final = 12
_desks: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Desk]] = WeakKeyDictionary()


class Verifier:
    """Believes, or does not, what claims to be signed with the private half of one public key."""

    __slots__ = ("_key",)

    def __init__(self, key: PublicKey) -> None:
        self._key = key

    def verify(self, message: bytes, signature_b64: str) -> bool:
        """Whether the signature is this key's over exactly these bytes; any garbage is simply False."""
        signature = _strict_base64(signature_b64)
        if signature is None:
            return False
        try:
            self._key.verify(signature, message, _PKCS1, _SHA256)
        except InvalidSignature:
            return False
        return True

    def verify_pss(self, message: bytes, signature: bytes) -> bool:
        """Whether it is this key's in the other padding: never good on the wire, but worth telling apart."""
        try:
            self._key.verify(signature, message, _PSS, _SHA256)
        except InvalidSignature:
            return False
        return True

    def recover(self, signature: bytes) -> tuple[str, bytes] | None:
        """What was signed, as (name of the hash, digest), if this key's private half signed anything at all.

        Answers the two questions of a failed check apart: was it the wrong key (None), or the wrong text (a digest
        that is not ours)? The name is empty when the digest was signed bare, without saying which hash it is.
        """
        try:
            framed = self._key.recover_data_from_signature(signature, _PKCS1, None)
        except InvalidSignature:
            return None
        for frame, name in _DIGEST_NAMES.items():
            if framed.startswith(frame):
                return name, framed[len(frame) :]
        return "", framed


class Encryptor:
    """Closes short sensitive texts for the holder of one private key, named by `key_id`."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key: PublicKey, key_id: str) -> None:
        self._key = key
        self.key_id = key_id

    @property
    def longest(self) -> int:
        """How many UTF-8 bytes fit: 214 for a key of 2048 bits."""
        return self._key.key_size // 8 - 42

    def encrypt(self, text: str) -> str:
        """Base64 of RSA-OAEP (SHA-1, MGF1-SHA-1) over the UTF-8 text; too long a text is a `ValueError`."""
        plain = text.encode()
        if len(plain) > self.longest:
            raise ValueError(f"at most {self.longest} bytes can be encrypted")
        return base64.b64encode(self._key.encrypt(plain, _OAEP)).decode()


class Decryptor:
    """Opens what an `Encryptor` closed."""

    __slots__ = ("_key", "key_id")

    def __init__(self, key: PrivateKey, key_id: str) -> None:
        self._key = key
        self.key_id = key_id

    async def decrypt(self, ciphertext_b64: str) -> str:
        """The text, opened in a thread; refuses whatever does not open with `CiphertextInvalid`."""
        return await _off_the_loop(lambda: self.decrypt_now(ciphertext_b64))

    def decrypt_now(self, ciphertext_b64: str) -> str:
        """The same in the calling thread."""
        ciphertext = _strict_base64(ciphertext_b64)
        if ciphertext is None:
            raise CiphertextInvalid(reason="not base64")
        try:
            return self._key.decrypt(ciphertext, _OAEP).decode()
        except ValueError:  # which covers text that is not UTF-8: the sender learns no more than that it failed
            raise CiphertextInvalid(reason="does not open") from None

    def __repr__(self) -> str:
        return f"Decryptor({self.key_id})"


class ApiKeyCipher:
    """AEAD_AES_256_GCM under a merchant's APIv3 key: 32 bytes, used raw, the tag at the end of the ciphertext."""

    __slots__ = ("_cipher",)

    def __init__(self, api_v3_key: bytes) -> None:
        if len(api_v3_key) != 32:
            raise ValueError("an APIv3 key has exactly 32 bytes")
        self._cipher = AESGCM(api_v3_key)

    def seal(self, plaintext: bytes, associated_data: str, nonce: str) -> str:
        """Base64 of the ciphertext. The caller makes a fresh nonce (`new_aead_nonce`) for every call: one nonce
        used twice under one key gives both texts away."""
        sealed = self._cipher.encrypt(nonce.encode("ascii"), plaintext, associated_data.encode())
        return base64.b64encode(sealed).decode()

    def open(self, ciphertext_b64: str, associated_data: str, nonce: str) -> bytes:
        """The plaintext; refuses another key, nonce, associated data or altered bytes with `CiphertextInvalid`."""
        sealed = _strict_base64(ciphertext_b64)
        if sealed is None:
            raise CiphertextInvalid(reason="not base64")
        try:
            return self._cipher.decrypt(nonce.encode(), sealed, associated_data.encode())
        except (InvalidTag, ValueError):
            raise CiphertextInvalid(reason="does not open") from None


def new_nonce() -> str:
    """32 characters nobody can guess, as signatures carry them."""
    try:
        return _NONCES.pop()
    except IndexError:
        drawn = secrets.token_hex(16 * _DRAWN).upper()
        _NONCES.extend(drawn[at : at + 32] for at in range(32, len(drawn), 32))
        return drawn[:32]


def new_aead_nonce() -> str:
    """12 ASCII characters holding 72 random bits. Hex would hold 48, which repeats after some 16 million messages."""
    return secrets.token_urlsafe(9)


# --- keys, read once --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def parse_private_key(pem: bytes) -> PrivateKey:
    """The RSA key of an unencrypted PEM; anything else is a `ValueError` that does not quote it."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not an unencrypted PEM private key") from None
    if not isinstance(key, PrivateKey):
        raise ValueError("not an RSA private key")
    return key


@lru_cache(maxsize=4096)
def parse_public_key(pem: bytes) -> PublicKey:
    """The RSA key of a PEM; anything else is a `ValueError`."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("not a PEM public key") from None
    if not isinstance(key, PublicKey):
        raise ValueError("not an RSA public key")
    return key


@lru_cache(maxsize=4096)
def parse_certificate(pem: bytes) -> x509.Certificate:
    """The first certificate of a PEM; anything else is a `ValueError`."""
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise ValueError("not a PEM certificate") from None


def certified_key(certificate: x509.Certificate) -> PublicKey:
    """The RSA key a certificate speaks for; another kind of key is a `ValueError`."""
    key = certificate.public_key()
    if not isinstance(key, PublicKey):
        raise ValueError("the certificate's key is not RSA")
    return key


def new_private_key_pem() -> bytes:
    """A fresh RSA-2048 key as PKCS#8 PEM, which every SDK can read. Takes some tenths of a second of processor."""
    return _private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def public_key_pem(private: PrivateKey) -> bytes:
    """The public half as PEM."""
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _private_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


# --- certificates -----------------------------------------------------------------------------------------------------


def certificate_signing_request(private_key_pem: bytes, common_name: str) -> bytes:
    """A PKCS#10 request in PEM: what a merchant sends instead of its private key."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_name(common_name))
    return request.sign(parse_private_key(private_key_pem), _SHA256).public_bytes(serialization.Encoding.PEM)


def new_serial() -> int:
    """A certificate serial of exactly 20 bytes whose first hex digit is 1–7.

    With 0 in front some SDKs print 39 digits, with 8–F others print 42: only so do all of them agree on 40.
    """
    return (1 + secrets.randbelow(7)) << 156 | secrets.randbits(156)


def serial_text(certificate: x509.Certificate) -> str:
    """The serial as the wire writes it: 40 upper-case hex digits."""
    return f"{certificate.serial_number:040X}"


def new_authority(name: str, wall_now: datetime) -> tuple[bytes, bytes]:
    """A self-signed authority as (certificate PEM, private key PEM), good for twenty years from a minute ago."""
    key_pem = new_private_key_pem()
    key = parse_private_key(key_pem)
    subject = _name(name)
    builder = (
        _certificate(subject, subject, key.public_key(), wall_now, wall_now + timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, _SHA256).public_bytes(serialization.Encoding.PEM), key_pem


def issue_certificate(
    ca_cert_pem: bytes,
    ca_key_pem: bytes,
    csr_pem: bytes,
    *,
    common_name: str,
    wall_now: datetime,
    valid_days: int,
) -> bytes:
    """Answer a certificate request with a certificate in PEM, valid from a minute ago.

    Only the key is taken from the request, and only when the request proves that its sender holds it: the name is
    the caller's, so nobody can ask for a certificate in another's. It never outlives the authority. Refuses an
    unreadable request, a false signature, and keys other than RSA 2048–4096 with exponent 65537 with `CsrRefused`.
    """
    authority, ca_key = parse_certificate(ca_cert_pem), parse_private_key(ca_key_pem)
    if certified_key(authority).public_numbers() != ca_key.public_key().public_numbers():
        raise ValueError("the authority's certificate and key are not a pair")
    key = _requested_key(csr_pem)
    ends = min(wall_now + timedelta(days=valid_days), authority.not_valid_after_utc)
    builder = (
        _certificate(_name(common_name), authority.subject, key, wall_now, ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    return builder.sign(ca_key, _SHA256).public_bytes(serialization.Encoding.PEM)


def _requested_key(csr_pem: bytes) -> PublicKey:
    """The key of a request, once the request has proved to be made by its holder."""
    if len(csr_pem) > _REQUEST_LIMIT:
        raise CsrRefused(reason="too long")
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        key = request.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CsrRefused(reason="not a PEM certificate request") from None
    if not isinstance(key, PublicKey):
        raise CsrRefused(reason="the key is not RSA")
    if not 2048 <= key.key_size <= 4096:
        raise CsrRefused(reason=f"the key has {key.key_size} bits, not 2048 to 4096")
    if key.public_numbers().e != 65537:
        raise CsrRefused(reason="the key's public exponent is not 65537")
    try:
        proved = request.is_signature_valid
    except (ValueError, UnsupportedAlgorithm):
        raise CsrRefused(reason="signed with an unknown algorithm") from None
    if not proved:
        raise CsrRefused(reason="its own signature does not verify")
    return key


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, wall_now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    if wall_now.tzinfo is None:
        raise ValueError("wall_now must be aware")
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(new_serial())
        .not_valid_before((wall_now - _BACKDATE).replace(microsecond=0))
        .not_valid_after(ends.replace(microsecond=0))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    """An authority signs certificates; everybody else signs requests and receives sensitive fields."""
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=not authority,
        data_encipherment=not authority,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
