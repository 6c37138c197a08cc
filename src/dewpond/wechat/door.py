"""The door of the wire: who calls is proved here, in the contract's order, and every success is signed here.

    headers ─▶ Authorization ─▶ clock ─▶ merchant, certificate ─▶ signature ─▶ body ─▶ the call ─▶ signed answer

What is known of callers is asked for many requests at once (`merchants.recognise`), so that a busy wire spends one
small transaction on dozens of them. Nothing of it is kept: a revoked certificate or a moved clock holds at once.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import msgspec
import structlog

from dewpond import merchants
from dewpond.kit import clock, crypto
from dewpond.kit.batch import Batch
from dewpond.kit.clock import Now
from dewpond.kit.crypto import Signer, Unsigned, Verifier
from dewpond.kit.db import CONNECTION_LOST, Database
from dewpond.kit.failures import Busy, Failure
from dewpond.kit.secrets import MasterKeys
from dewpond.merchants import AppId, Caller, Claim, PlatformKey, Recognised
from dewpond.pay import Opened, Opening
from dewpond.settings import Settings
from dewpond.wechat import answers
from dewpond.wechat.answers import Answer, MchidDiffers, Reply
from dewpond.wechat.requests import Form
from dewpond.wechat.signing import (
    Authorization,
    SignatureInvalid,
    answer_message,
    explain,
    parse_authorization,
    request_messages,
)

Asked = TypeVar("Asked")
Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]

log = structlog.get_logger(__name__)

WINDOW_SECONDS: Final = 300
BODY_LIMIT: Final = 1_000_000
BODY_SECONDS: Final = 30
#: Longer than any honest body. How many of these one process reads at the same time bounds what strangers can fill.
_LONG_BODY: Final = 64 * 1024
_LONG_BODIES: Final = 32
_KEY_ID: Final = re.compile(r"[0-9A-Za-z_]{1,64}")


class House(Protocol):
    """What the wire needs of the house."""

    @property
    def db(self) -> Database: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def secrets(self) -> MasterKeys: ...
    @property
    def openings(self) -> Batch[Opening, Opened]: ...


class Visit(msgspec.Struct, frozen=True, kw_only=True):
    """A call whose caller is proved."""

    caller: Caller
    in_sandbox: bool
    now: Now
    #: The app the body names, if it is the caller's.
    app_id: AppId | None
    #: The origin of code links.
    public_url: str
    #: The platform key the caller named, as long as it is one we sign with.
    key_named: str | None
    path: Mapping[str, str]
    query: bytes

    def require_mchid(self, mchid: str) -> None:
        """The request acts for the merchant that signed it, or is refused with `MchidDiffers`."""
        if mchid != self.caller.number:
            raise MchidDiffers


class Result(msgspec.Struct, frozen=True):
    """What a call came to; `signer` only where the caller's wish does not choose it."""

    status: int
    body: bytes
    signer: Signer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[Asked]):
    """One thing the wire can be asked."""

    method: Literal["GET", "POST"]
    path: str
    carry_out: Callable[[House, Visit, Asked], Awaitable[Result]]
    form: Form[Asked] | None = None
    #: Whether a missing Accept or User-Agent is refused before anything else.
    needs_agent: bool = False
    #: Refusals this call words otherwise than the table of all answers.
    replies: Mapping[type[Failure], Reply] = field(default_factory=dict)


class _Heard(msgspec.Struct):
    """The headers that matter."""

    authorizations: list[str]
    accept: str = ""
    agent: str = ""
    key_id: str = ""
    language: str = ""
    host: str = ""
    #: As announced; 0 where it is not.
    length: int = 0


def _hear(scope: Scope) -> _Heard:
    heard = _Heard([])
    for name, value in scope["headers"]:
        match name:
            case b"authorization":
                heard.authorizations.append(value.decode("latin-1"))
            case b"accept":
                heard.accept = value.decode("latin-1").strip()
            case b"user-agent":
                heard.agent = value.decode("latin-1").strip()
            case b"wechatpay-serial":
                heard.key_id = value.decode("latin-1").strip()
            case b"accept-language":
                heard.language = value.decode("latin-1")
            case b"host":
                heard.host = value.decode("latin-1")
            case b"content-length":
                heard.length = int(value)  # the server has seen to it that it is a number
    return heard


class _Bodies:
    """Reads bodies. Nobody is proved yet: it takes no longer and holds no more than it must."""

    def __init__(self) -> None:
        self._long = 0

    async def read(self, announced: int, receive: Receive) -> bytes:
        """The whole body; refuses with `BodyTooLong`, `BodyUnreadable` (too slow, gone), `Busy` (many are long)."""
        if announced > BODY_LIMIT:
            raise answers.BodyTooLong
        parts: list[bytes] = []
        length, is_long = 0, False
        try:
            async with asyncio.timeout(BODY_SECONDS):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":  # nobody is left to answer, and nothing was asked
                        raise answers.BodyUnreadable
                    parts.append(message.get("body", b""))
                    length += len(parts[-1])
                    more = message.get("more_body", False)
                    if length > BODY_LIMIT:
                        raise answers.BodyTooLong
                    if length > _LONG_BODY and not is_long:
                        if self._long >= _LONG_BODIES:
                            raise Busy
                        is_long = True
                        self._long += 1
        except TimeoutError:
            raise answers.BodyUnreadable from None
        finally:
            self._long -= is_long
        return b"".join(parts)


class Door:
    """Lets calls in and answers out, for one house."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._recognitions: Batch[Claim, Recognised | None] = Batch(self._recognise, lanes=1)
        self._signer = lru_cache(maxsize=1024)(self._unseal)
        self._bodies = _Bodies()
        # A busy wire signs a few answers per hop to a thread; more would only make the first of them wait.
        self._signatures: Batch[Unsigned, str] = Batch(crypto.sign_all, most=4, lanes=crypto.THREADS)

    async def answer(self, call: Call[Any], scope: Scope, receive: Receive) -> Answer:
        """Answer one request to a known path with the right method; nothing that happens here leaves it unanswered."""
        heard = _hear(scope)
        try:
            return await self._answer(call, heard, scope, receive)
        except Failure as refusal:
            return self._refuse(call, heard, refusal)
        except CONNECTION_LOST as lost:
            log.warning("wechat.unreachable", path=call.path, error=type(lost).__name__)
            return self._refuse(call, heard, answers.Unreachable())
        except Exception:
            answer = self._refuse(call, heard, answers.Unreachable())
            log.exception("wechat.fault", path=call.path, request_id=_request_id_of(answer))
            return answer

    async def _answer(self, call: Call[Any], heard: _Heard, scope: Scope, receive: Receive) -> Answer:
        if call.needs_agent and not (heard.accept and heard.agent):
            raise answers.AgentMissing
        if len(heard.authorizations) != 1:
            raise answers.AuthorizationMissing
        authorization = parse_authorization(heard.authorizations[0])
        wall = clock.wall_now()
        if abs(int(wall.timestamp()) - authorization.timestamp) > WINDOW_SECONDS:
            raise answers.TimestampOutside
        body = await self._bodies.read(heard.length, receive)
        asked, wrong = _try_reading(call, body)  # told only to whom the signature proves to be the sender
        named = _spelled(heard.key_id)
        known = await self._recognitions.submit(
            Claim(
                number=authorization.mchid,
                serial=_spelled(authorization.serial_no),
                key_id=named,
                appid=getattr(asked, "appid", ""),
            )
        )
        if known is None:
            raise answers.CallerUnknown
        if known.caller.pem is None and known.world.is_sandbox:
            raise answers.SerialUnknown(explanation=await self._serials(known.caller, authorization))
        verifier = _verifier_of(known.caller, wall=wall)
        await self._verify(scope, heard, authorization, body, known, verifier)
        if wrong is not None:
            raise wrong
        visit = Visit(
            caller=known.caller,
            in_sandbox=known.world.is_sandbox,
            now=known.world.time(wall),
            app_id=known.app_id,
            public_url=self._house.settings.public_url or known.world.public_url,
            key_named=named if named and known.key.id == named else None,
            path=scope.get("path_params", {}),
            query=scope["query_string"],
        )
        result = await call.carry_out(self._house, visit, asked)
        return await self._sign(result, result.signer or self._signer(known.key))

    async def _recognise(self, claims: Sequence[Claim]) -> Sequence[Recognised | Failure | None]:
        try:
            async with self._house.db.transaction() as tx:
                return await merchants.recognise(tx, claims, wall_now=clock.wall_now())
        except CONNECTION_LOST as lost:  # nothing was changed, so nobody need wait for the outcome
            log.warning("wechat.unreachable", error=type(lost).__name__)
            return [answers.Unreachable() for _ in claims]

    async def _serials(self, caller: Caller, authorization: Authorization) -> dict[str, str]:
        """For a sandbox: which serial was named, whose it is, and which would have been right."""
        async with self._house.db.transaction() as tx:
            own = await merchants.list_certificates(tx, caller.merchant_id)
            platform = await merchants.list_platform_certificates(tx, wall_now=clock.wall_now())
        named = _spelled(authorization.serial_no)
        is_platforms = named in {key.id for key in platform}
        whose = (
            "that is the platform's certificate, not yours" if is_platforms else "this merchant has none of that serial"
        )
        right = ", ".join(each.serial for each in own if each.revoked_at is None) or "none: it has no certificate"
        return {
            "field": "serial_no",
            "value": authorization.serial_no,
            "issue": f"{whose}; yours: {right}",
            "location": "header",
        }

    async def _verify(
        self,
        scope: Scope,
        heard: _Heard,
        authorization: Authorization,
        body: bytes,
        known: Recognised,
        verifier: Verifier,
    ) -> None:
        target = _target(scope)
        messages = request_messages(scope["method"], target, authorization.timestamp, authorization.nonce_str, body)
        if any(verifier.verify(message, authorization.signature) for message in messages):
            return
        if not known.world.is_sandbox:
            raise SignatureInvalid
        async with self._house.db.transaction() as tx:
            certificates = await merchants.list_certificates(tx, known.caller.merchant_id)
        explanation = await asyncio.to_thread(
            explain,
            method=scope["method"],
            raw_target=target,
            authorization=authorization,
            body=body,
            verifier=verifier,
            host=heard.host,
            other_verifiers={each.serial: _verifier(each.pem) for each in certificates},
        )
        raise SignatureInvalid(explanation=explanation)

    async def _sign(self, result: Result, signer: Signer) -> Answer:
        timestamp, nonce = int(clock.wall_now().timestamp()), crypto.new_nonce()
        signature = await self._signatures.submit(Unsigned(signer, answer_message(timestamp, nonce, result.body)))
        headers = answers.signed_headers(timestamp=timestamp, nonce=nonce, signature=signature, key_id=signer.key_id)
        return Answer(result.status, result.body, headers)

    def _refuse(self, call: Call[Any], heard: _Heard, refusal: Failure) -> Answer:
        return answers.refuse(
            refusal,
            call.replies,
            english=answers.wants_english(heard.language),
            documented=self._house.settings.strict_docs,
            detail=refusal.facts.get("explanation"),
        )

    def _unseal(self, key: PlatformKey) -> Signer:
        return key.signer(self._house.secrets)


def _try_reading(call: Call[Asked], body: bytes) -> tuple[Asked | None, Failure | None]:
    if call.form is None:
        return None, None
    try:
        return call.form.read(body), None
    except Failure as wrong:
        return None, wrong


def _spelled(serial: str) -> str:
    """A key id or certificate serial in our spelling: SDKs differ in case and in leading zeros."""
    if serial.startswith(merchants.PUBLIC_KEY_PREFIX):
        return serial if _KEY_ID.fullmatch(serial) else ""
    return serial.upper().lstrip("0").rjust(40, "0") if _KEY_ID.fullmatch(serial) else ""


def _target(scope: Scope) -> bytes:
    """The target as it stood on the request line."""
    raw: bytes = scope["raw_path"]
    query: bytes = scope["query_string"]
    return raw + b"?" + query if query else raw


@lru_cache(maxsize=4096)
def _verifier(pem: str) -> Verifier:
    return Verifier(crypto.certified_key(crypto.parse_certificate(pem.encode())))


def _verifier_of(caller: Caller, *, wall: datetime) -> Verifier:
    """Who can believe the caller's signature, if the certificate it names may be trusted now."""
    if caller.pem is None or caller.not_before is None or caller.not_after is None:
        raise answers.SerialUnknown
    if caller.revoked_at is not None:
        raise answers.CertificateRevoked
    if not caller.not_before <= wall < caller.not_after:
        raise answers.CertificateExpired
    return _verifier(caller.pem)


def _request_id_of(answer: Answer) -> str:
    return dict(answer.headers)[b"Request-ID"].decode()
