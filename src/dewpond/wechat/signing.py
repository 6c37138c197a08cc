"""Signatures of WeChat Pay API v3: reading the Authorization header, what is signed, and why a check failed.

All of it is pure: strings in, strings out. The key is looked up by the caller, who tries each of `request_messages`
against it; `explain` is for the sandbox's answer to a request whose signature did not verify.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypedDict
from urllib.parse import unquote_to_bytes

import msgspec

from dewpond.kit.crypto import Verifier
from dewpond.kit.failures import Failure, Kind
from dewpond.wechat.mistakes import LINES, Mistake, find_mistakes, join_lines

SCHEME: Final = "WECHATPAY2-SHA256-RSA2048"

_HEADER_LIMIT: Final = 4096
_PAIR: Final = re.compile(r'([A-Za-z_]+)="([^"]*)"')
_SEPARATOR: Final = re.compile(r",[ \t]*")
#: The five fields and what each may look like. Serials and merchants are loose: a wrong one has an answer of its own.
_FIELDS: Final = {
    "mchid": re.compile(r"[0-9A-Za-z_-]{1,32}"),
    "nonce_str": re.compile(r"[\x20-\x7e]{1,64}"),
    "signature": re.compile(r"[\x20-\x7e]{1,1024}"),
    "timestamp": re.compile(r"0|[1-9][0-9]{0,11}"),
    "serial_no": re.compile(r"[0-9A-Za-z_-]{1,64}"),
}


class SignatureInvalid(Failure):
    """The request's signature does not verify."""

    code, kind = "signature_invalid", Kind.UNAUTHENTICATED


class AuthorizationSchemeUnknown(SignatureInvalid):
    """The Authorization header has another scheme than WECHATPAY2-SHA256-RSA2048."""

    code, kind = "authorization_scheme_unknown", Kind.UNAUTHENTICATED


class AuthorizationMalformed(SignatureInvalid):
    """The Authorization header is not in form."""

    code, kind = "authorization_malformed", Kind.UNAUTHENTICATED


class Authorization(msgspec.Struct, frozen=True, kw_only=True):
    """Who says they signed, with which certificate's key, when, and the signature."""

    mchid: str
    nonce_str: str
    signature: str
    timestamp: int
    serial_no: str


def parse_authorization(value: str) -> Authorization:
    """Read the header: fields in any order, blanks after commas, unknown fields ignored (they bear no meaning).

    Refuses with `AuthorizationSchemeUnknown` or `AuthorizationMalformed`, whose facts name the reason and the field.
    """
    scheme, _, rest = value.partition(" ")
    if scheme != SCHEME:
        raise AuthorizationSchemeUnknown()
    if len(value) > _HEADER_LIMIT:
        raise AuthorizationMalformed(reason="too long")
    fields = _pairs(rest)
    for name, form in _FIELDS.items():
        if name not in fields:
            raise AuthorizationMalformed(reason="a field is missing", field=name)
        if not form.fullmatch(fields[name]):
            raise AuthorizationMalformed(reason="a field is not in form", field=name)
    return Authorization(
        mchid=fields["mchid"],
        nonce_str=fields["nonce_str"],
        signature=fields["signature"],
        timestamp=int(fields["timestamp"]),
        serial_no=fields["serial_no"],
    )


def _pairs(rest: str) -> dict[str, str]:
    """`key="value"` pairs between commas."""
    fields: dict[str, str] = {}
    at = 0
    while True:
        pair = _PAIR.match(rest, at)
        if pair is None:
            raise AuthorizationMalformed(reason='not a list of key="value"')
        if pair[1] in fields:
            raise AuthorizationMalformed(reason="a field stands twice", field=pair[1])
        fields[pair[1]] = pair[2]
        if pair.end() == len(rest):
            return fields
        separator = _SEPARATOR.match(rest, pair.end())
        if separator is None:
            raise AuthorizationMalformed(reason="no comma between fields")
        at = separator.end()


def same_serial(a: str, b: str) -> bool:
    """Whether two spellings mean one certificate: SDKs differ in case and in leading zeros."""
    return bool(a and b) and a.upper().lstrip("0") == b.upper().lstrip("0")


def request_messages(method: str, raw_target: bytes, timestamp: int, nonce: str, body: bytes) -> list[bytes]:
    """The texts a request may be signed over, likeliest first; one of them has to verify.

    The target counts as it stood on the request line, or with `|`, `*` and `@` unescaped: some clients escape these
    after signing. A body of `{}` counts as empty too: one SDK signs nothing and then sends it.
    """
    targets = dict.fromkeys((raw_target, _unescaped(raw_target)))
    bodies = (body, b"") if body == b"{}" else (body,)
    return [_message(method, target, timestamp, nonce, content) for content in bodies for target in targets]


def answer_message(timestamp: int, nonce: str, body: bytes) -> bytes:
    """The text our answers and callbacks are signed over; a 204 has an empty body."""
    return b"%d\n%s\n%s\n" % (timestamp, nonce.encode(), body)


def _message(method: str, target: bytes, timestamp: int, nonce: str, body: bytes) -> bytes:
    return b"%s\n%s\n%d\n%s\n%s\n" % (method.upper().encode(), target, timestamp, nonce.encode(), body)


def _unescaped(target: bytes) -> bytes:
    return re.sub(rb"%(?:7[Cc]|2[Aa]|40)", lambda found: unquote_to_bytes(found[0]), target)


# --- why a signature does not verify ----------------------------------------------------------------------------------
#
# A PKCS#1 signature gives back the digest that was signed to whoever has the public key. That parts the two causes
# without guessing: no digest means another key, a digest that is not ours means another text. And it makes trying
# texts cheap (`mistakes`): one hash each, and a hit is a proof.

_SHOWN_LIMIT: Final = 32 * 1024
_HASH_BY_SIZE: Final = {16: "md5", 20: "sha1", 32: "sha256", 48: "sha384", 64: "sha512"}


class Verdict(StrEnum):
    """What is certain about a signature."""

    VERIFIES = "verifies"
    """It is in order: nothing to explain."""
    DIFFERENCE_FOUND = "difference_found"
    """Right key; `differences` say exactly what was done differently."""
    OTHER_TEXT = "other_text"
    """Right key, but over a text that could not be guessed."""
    OTHER_CERTIFICATE = "other_certificate"
    """Made with the key of another certificate of the same merchant."""
    OTHER_KEY = "other_key"
    """Not made with this certificate's private key."""


class Line(TypedDict):
    """One line of the text that is verified, without its line end."""

    line: str
    text: str


class Difference(TypedDict):
    """Something proved to be done differently: which line, what, and both sides of it."""

    line: str
    cause: str
    problem: str
    ours: str
    yours: str


class Explanation(TypedDict):
    """What a merchant's developer needs to see; ready for JSON, and free of keys."""

    verdict: str
    sign_message: str
    sign_message_bytes: int
    sign_message_sha256: str
    signed_sha256: str | None
    lines: list[Line]
    differences: list[Difference]
    check: list[str]


def explain(
    *,
    method: str,
    raw_target: bytes,
    authorization: Authorization,
    body: bytes,
    verifier: Verifier,
    host: str = "",
    wire_body: bytes | None = None,
    other_verifiers: Mapping[str, Verifier] | None = None,
) -> Explanation:
    """Say what was verified and, where it can be proved, what the client did differently.

    `verifier` is that of the certificate named in the header, `other_verifiers` those of the merchant's other
    certificates by serial. For uploads `body` is the `meta` part and `wire_body` the whole. Meant for sandboxes:
    it costs some milliseconds, and shows the caller their own request again.
    """
    ours = [
        method.upper().encode(),
        raw_target,
        b"%d" % authorization.timestamp,
        authorization.nonce_str.encode(),
        body,
    ]
    accepted = request_messages(method, raw_target, authorization.timestamp, authorization.nonce_str, body)
    answer = _blank(ours)
    signature, differences = _read_signature(authorization.signature)
    if signature is None:
        answer["check"] = ["The signature is not base64, so nothing else could be looked at."]
        return answer
    recovered = verifier.recover(signature)
    if recovered is None:
        return _explain_key(answer, signature, accepted, authorization.serial_no, verifier, other_verifiers or {})
    hash_name, digest = recovered
    if hash_name != "sha256":
        differences.append(_other_hash(hash_name, digest))
        hash_name = hash_name or _HASH_BY_SIZE.get(len(digest), "")
    answer["signed_sha256"] = digest.hex() if hash_name == "sha256" else None
    # Under a hash we do not know no text can be compared: that alone is the answer then.
    mistakes = find_mistakes(ours, accepted, digest, hash_name, host=host, wire_body=wire_body) if hash_name else []
    at = dict(zip(LINES, ours, strict=True))
    differences += [_difference(mistake, at.get(mistake.line, accepted[0])) for mistake in mistakes or ()]
    answer["differences"] = differences
    if mistakes is None:
        answer["verdict"] = Verdict.OTHER_TEXT
        answer["check"] = _other_text_checks(digest.hex())
    else:
        answer["verdict"] = Verdict.DIFFERENCE_FOUND if differences else Verdict.VERIFIES
    return answer


def _blank(ours: list[bytes]) -> Explanation:
    message = join_lines(ours)
    return {
        "verdict": Verdict.OTHER_KEY,
        "sign_message": _shown(message),
        "sign_message_bytes": len(message),
        "sign_message_sha256": hashlib.sha256(message).hexdigest(),
        "signed_sha256": None,
        "lines": [{"line": name, "text": _shown(part)} for name, part in zip(LINES, ours, strict=True)],
        "differences": [],
        "check": [],
    }


def _shown(raw: bytes) -> str:
    """As text; bytes that are none are written as escapes, and what is very long is cut."""
    text = raw[:_SHOWN_LIMIT].decode("utf-8", "backslashreplace")
    return text if len(raw) <= _SHOWN_LIMIT else f"{text}… ({len(raw) - _SHOWN_LIMIT} more bytes)"


def _difference(mistake: Mistake, ours: bytes) -> Difference:
    return _told(mistake.line, mistake.cause, mistake.problem, ours=_shown(ours), yours=_shown(mistake.value))


def _told(line: str, cause: str, problem: str, *, ours: str, yours: str) -> Difference:
    return {"line": line, "cause": cause, "problem": problem, "ours": ours, "yours": yours}


# --- the signature itself ---------------------------------------------------------------------------------------------


def _read_signature(text: str) -> tuple[bytes | None, list[Difference]]:
    """The signature's bytes in whatever dress they came, and what was wrong with the dress."""
    plain = "".join(text.split())
    if re.fullmatch(r"(?:[0-9a-fA-F]{2}){128,512}", plain):
        return bytes.fromhex(plain), [_dress("signature_hex", "the signature is hex, not base64")]
    try:
        padded = plain.rstrip("=") + "=" * (-len(plain.rstrip("=")) % 4)
        raw = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return None, []
    mistakes = []
    if "-" in plain or "_" in plain:
        mistakes.append(_dress("signature_base64url", "the signature is in the URL alphabet of base64 (- and _)"))
    if plain.rstrip("=") == plain and len(raw) % 3:
        mistakes.append(_dress("signature_unpadded", "the signature lacks its = at the end"))
    if plain != text:
        mistakes.append(_dress("signature_blanks", "there are blanks or line breaks inside the signature"))
    return raw, mistakes


def _dress(cause: str, problem: str) -> Difference:
    return _told("signature", cause, problem, ours="standard base64 with padding", yours="")


def _other_hash(name: str, digest: bytes) -> Difference:
    if name:
        return _told("signature", "other_hash", f"signed with {name} instead of sha256", ours="sha256", yours=name)
    if len(digest) in _HASH_BY_SIZE:
        problem = "the digest was signed bare: PKCS#1 puts the name of its hash in front"
        return _told(
            "signature", "bare_digest", problem, ours="sha256 with its name", yours=f"{len(digest)} bare bytes"
        )
    problem = "signed with a hash that is not sha256"
    return _told("signature", "other_hash", problem, ours="sha256", yours=digest.hex())


def _explain_key(
    answer: Explanation,
    signature: bytes,
    accepted: list[bytes],
    serial_no: str,
    verifier: Verifier,
    others: Mapping[str, Verifier],
) -> Explanation:
    """Nothing comes out of the signature under this certificate's key: whose is it?"""
    if any(verifier.verify_pss(message, signature) for message in accepted):
        problem = "padded as RSASSA-PSS; the wire wants RSASSA-PKCS1-v1_5"
        answer["verdict"] = Verdict.DIFFERENCE_FOUND
        answer["differences"] = [_told("signature", "pss_padding", problem, ours="PKCS1-v1_5", yours="PSS")]
        return answer
    for serial, other in others.items():
        if not same_serial(serial, serial_no) and other.recover(signature) is not None:
            problem = "the signature belongs to another of your certificates than the header names"
            answer["verdict"] = Verdict.OTHER_CERTIFICATE
            answer["differences"] = [_told("serial_no", "other_certificate", problem, ours=serial_no, yours=serial)]
            return answer
    answer["check"] = [
        f"Not made with the private key of certificate {serial_no}, or not as RSASSA-PKCS1-v1_5. "
        "The text could not be compared.",
        "Do key and certificate belong together? `openssl x509 -noout -modulus -in cert.pem` and "
        "`openssl rsa -noout -modulus -in key.pem` must print the same.",
        "Is serial_no the serial of your merchant certificate, not of the platform's?",
    ]
    return answer


def _other_text_checks(signed: str) -> list[str]:
    return [
        f"The key is right, the text is another: the hash of what you signed is {signed}. "
        "Print the text you sign, and hash it.",
        "Are nonce_str and timestamp in the header the very ones that were signed, not made a second time?",
        "Is the body sent byte for byte the body signed? Make it a string once; sign and send that string.",
        "Does anything between you and us, a proxy or a gateway, change path, query or body?",
    ]
