"""A WebAuthn authenticator and the browser around it, in software: real keys, real CBOR, real signatures.

    phone = Authenticator("http://localhost:8602")
    response_json = phone.create(options_json)      # navigator.credentials.create, as `toJSON()` writes it
    response_json = phone.get(options_json)         # navigator.credentials.get

It behaves: it knows its own origin, serves only sites of its host, makes no second credential where one is excluded,
verifies its holder, counts. Each keyword is one way of not behaving.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

_PRESENT, _VERIFIED, _MAY_BE_BACKED_UP, _BACKED_UP, _HAS_CREDENTIAL = 0x01, 0x04, 0x08, 0x10, 0x40

#: COSE's numbers.
ES256, EDDSA, RS256, ES384 = -7, -8, -257, -35


class NotAllowed(Exception):
    """What a browser answers when it will not do it: a foreign site, an excluded or an unknown credential."""


@dataclass
class Credential:
    """One key, for one site and one holder."""

    id: bytes
    rp_id: str
    #: `user.id` of the options, which comes back as `userHandle`.
    holder_handle: bytes
    #: COSE.
    public_key: bytes
    sign: Callable[[bytes], bytes]
    sign_count: int = 0


@dataclass
class Authenticator:
    """A person's device at one site."""

    origin: str
    #: Which algorithm it can, by COSE's number.
    algorithm: int = ES256
    #: Keys that are copied to a cloud, as most are today, do not count their uses.
    is_backed_up: bool = False
    credentials: list[Credential] = field(default_factory=list)

    def create(
        self,
        options_json: str,
        *,
        origin: str | None = None,
        rp_id: str | None = None,
        challenge: bytes | None = None,
        is_present: bool = True,
        is_verified: bool = True,
        is_framed: bool = False,
        kind: str = "webauthn.create",
        credential_id: bytes | None = None,
        public_key: bytes | None = None,
        ignores_exclusions: bool = False,
    ) -> str:
        """Make a credential as asked, keep it, and answer."""
        options = json.loads(options_json)
        site = self._serve(options["rp"]["id"])
        excluded = {from_base64url(one["id"]) for one in options["excludeCredentials"]}
        if not ignores_exclusions and any(one.id in excluded for one in self.credentials):
            raise NotAllowed("InvalidStateError")
        if self.algorithm not in [one["alg"] for one in options["pubKeyCredParams"]] and public_key is None:
            raise NotAllowed("NotSupportedError")
        made_key, sign = _new_key(self.algorithm)
        credential = Credential(
            id=credential_id or secrets.token_bytes(32),
            rp_id=site,
            holder_handle=from_base64url(options["user"]["id"]),
            public_key=public_key or made_key,
            sign=sign,
        )
        self.credentials.append(credential)
        attested = bytes(16) + len(credential.id).to_bytes(2, "big") + credential.id + credential.public_key
        authenticator_data = self._authenticator_data(rp_id or site, is_present, is_verified, 0, attested)
        client_data = self._client_data(kind, options, origin, challenge, is_framed)
        response = {
            "clientDataJSON": to_base64url(client_data),
            "attestationObject": to_base64url(
                cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": authenticator_data})
            ),
            "transports": ["hybrid", "internal"],
        }
        return self._answer(credential.id, response)

    def get(
        self,
        options_json: str,
        *,
        credential: Credential | None = None,
        origin: str | None = None,
        rp_id: str | None = None,
        challenge: bytes | None = None,
        is_present: bool = True,
        is_verified: bool = True,
        is_framed: bool = False,
        kind: str = "webauthn.get",
        holder_handle: bytes | None = None,
        forgets_holder: bool = False,
        sign_count: int | None = None,
        signature: bytes | None = None,
    ) -> str:
        """Sign with `credential`, or with the newest that the options allow."""
        options = json.loads(options_json)
        site = self._serve(options["rpId"])
        credential = credential or self._choose(options, site)
        if sign_count is None:
            credential.sign_count += 0 if self.is_backed_up else 1
            sign_count = credential.sign_count
        authenticator_data = self._authenticator_data(rp_id or site, is_present, is_verified, sign_count, b"")
        client_data = self._client_data(kind, options, origin, challenge, is_framed)
        signed = credential.sign(authenticator_data + hashlib.sha256(client_data).digest())
        response = {
            "clientDataJSON": to_base64url(client_data),
            "authenticatorData": to_base64url(authenticator_data),
            "signature": to_base64url(signed if signature is None else signature),
        }
        if not forgets_holder:
            response["userHandle"] = to_base64url(holder_handle or credential.holder_handle)
        return self._answer(credential.id, response)

    def _serve(self, rp_id: str) -> str:
        """As browsers do: a site may ask for itself and for domains above it."""
        host = urlsplit(self.origin).hostname or ""
        if host != rp_id and not host.endswith(f".{rp_id}"):
            raise NotAllowed("SecurityError")
        return rp_id

    def _choose(self, options: dict[str, Any], rp_id: str) -> Credential:
        allowed = {from_base64url(one["id"]) for one in options.get("allowCredentials", [])}
        for credential in reversed(self.credentials):
            if credential.rp_id == rp_id and (not allowed or credential.id in allowed):
                return credential
        raise NotAllowed("NotAllowedError")

    def _client_data(
        self, kind: str, options: dict[str, Any], origin: str | None, challenge: bytes | None, is_framed: bool
    ) -> bytes:
        told = {
            "type": kind,
            "challenge": options["challenge"] if challenge is None else to_base64url(challenge),
            "origin": origin or self.origin,
            "crossOrigin": is_framed,
        }
        return json.dumps(told).encode()

    def _authenticator_data(
        self, rp_id: str, is_present: bool, is_verified: bool, sign_count: int, attested: bytes
    ) -> bytes:
        flags = (
            _PRESENT * is_present
            | _VERIFIED * is_verified
            | (_MAY_BE_BACKED_UP | _BACKED_UP) * self.is_backed_up
            | _HAS_CREDENTIAL * bool(attested)
        )
        return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + sign_count.to_bytes(4, "big") + attested

    def _answer(self, credential_id: bytes, response: dict[str, Any]) -> str:
        return json.dumps(
            {
                "id": to_base64url(credential_id),
                "rawId": to_base64url(credential_id),
                "type": "public-key",
                "authenticatorAttachment": "platform",
                "clientExtensionResults": {},
                "response": response,
            }
        )


def to_base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def _new_key(algorithm: int) -> tuple[bytes, Callable[[bytes], bytes]]:
    """A public key in COSE, and what signs with its private half."""
    if algorithm == ES256:
        return _new_curve_key(ES256, 1, ec.SECP256R1(), 32, hashes.SHA256())
    if algorithm == ES384:
        return _new_curve_key(ES384, 2, ec.SECP384R1(), 48, hashes.SHA384())
    if algorithm == EDDSA:
        edwards = ed25519.Ed25519PrivateKey.generate()
        return cbor2.dumps({1: 1, 3: EDDSA, -1: 6, -2: edwards.public_key().public_bytes_raw()}), edwards.sign
    if algorithm == RS256:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        modulus = key.public_key().public_numbers().n.to_bytes(256, "big")
        return (
            cbor2.dumps({1: 3, 3: RS256, -1: modulus, -2: (65537).to_bytes(3, "big")}),
            lambda signed: key.sign(signed, padding.PKCS1v15(), hashes.SHA256()),
        )
    raise ValueError(f"no key of algorithm {algorithm}")


def _new_curve_key(
    algorithm: int, number: int, curve: ec.EllipticCurve, width: int, digest: hashes.HashAlgorithm
) -> tuple[bytes, Callable[[bytes], bytes]]:
    key = ec.generate_private_key(curve)
    point = key.public_key().public_numbers()
    cose = {1: 2, 3: algorithm, -1: number, -2: point.x.to_bytes(width, "big"), -3: point.y.to_bytes(width, "big")}
    return cbor2.dumps(cose), lambda signed: key.sign(signed, ec.ECDSA(digest))
