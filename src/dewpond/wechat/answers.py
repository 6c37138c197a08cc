"""Answers: how each refusal of the house reads on WeChat's wire, and how an answer is put on it.

One table. A `Failure` that is not in it is answered by its kind, so that a new one is never a fault on the wire.
"""

import secrets as random
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, Final

import msgspec

from dewpond import merchants, pay
from dewpond.kit.failures import Busy, Failure, Kind, OutcomeUnknown
from dewpond.kit.worlds import NoWorld
from dewpond.wechat.signing import AuthorizationMalformed, AuthorizationSchemeUnknown, SignatureInvalid

Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_JSON: Final = b"application/json"
#: Request-IDs are told apart by process and count: one is made for every answer, and need not be secret.
_PROCESS: Final = random.token_hex(12).upper().encode()
_COUNT: Final = count(1)


class AuthorizationMissing(SignatureInvalid):
    """The request carries no Authorization header, or more than one."""

    code, kind = "authorization_missing", Kind.UNAUTHENTICATED


class TimestampOutside(SignatureInvalid):
    """The timestamp in the Authorization header is more than 5 minutes from the server's clock."""

    code, kind = "timestamp_outside", Kind.UNAUTHENTICATED


class CallerUnknown(SignatureInvalid):
    """There is no merchant with the mchid in the Authorization header."""

    code, kind = "caller_unknown", Kind.UNAUTHENTICATED


class SerialUnknown(SignatureInvalid):
    """The merchant has no certificate with the serial_no in the Authorization header."""

    code, kind = "serial_unknown", Kind.UNAUTHENTICATED


class CertificateExpired(SignatureInvalid):
    """The merchant certificate named in the Authorization header is not valid at this time."""

    code, kind = "certificate_expired", Kind.UNAUTHENTICATED


class CertificateRevoked(SignatureInvalid):
    """The merchant certificate named in the Authorization header is revoked."""

    code, kind = "certificate_revoked", Kind.UNAUTHENTICATED


class AgentMissing(Failure):
    """The Accept and User-Agent headers are required here."""

    code, kind = "agent_missing", Kind.INVALID


class BodyTooLong(Failure):
    """The body is longer than 1 MB."""

    code, kind = "body_too_long", Kind.INVALID


class BodyUnreadable(Failure):
    """The body is not a JSON object in UTF-8."""

    code, kind = "body_unreadable", Kind.INVALID


class MchidDiffers(Failure):
    """The mchid of the Authorization header and that of the request differ."""

    code, kind = "mchid_differs", Kind.INVALID


class AppNotBound(Failure):
    """The appid does not belong to the mchid."""

    code, kind = "app_not_bound", Kind.INVALID


class ExpiryTooSoon(Failure):
    """The time_expire is not at least one minute ahead."""

    code, kind = "expiry_too_soon", Kind.INVALID


class Unreachable(Failure):
    """The system is busy or cannot reach its database; try again."""

    code, kind = "system_unreachable", Kind.UNAVAILABLE


class ParameterInvalid(Failure):
    """A parameter is not in form."""

    code, kind = "parameter_invalid", Kind.INVALID

    def __init__(self, field: str, issue: "Issue", *, value: Any = None, location: str = "body") -> None:
        super().__init__(field=field, location=location)
        self.issue = issue
        #: Where it stands, as the wire names it: a JSON pointer in the body, a bare name elsewhere.
        self.detail: dict[str, Any] = {"field": field, "issue": issue.en, "location": location}
        if value is not None:
            self.detail["value"] = value


class Issue(msgspec.Struct, frozen=True):
    """What is wrong with a parameter, in both languages."""

    en: str
    zh: str


class Reply(msgspec.Struct, frozen=True):
    """How one refusal reads: status, code, the sentence in both languages, and the number behind its Request-ID."""

    status: int
    code: str
    zh: str
    #: Empty where the refusal's own sentence says it.
    en: str = ""
    number: int = 268435456
    #: Status and code as documented, where the field differs and the operator asked for the documents' word.
    documented: tuple[int, str] | None = None


_SIGN = 268443699
_PARAM = 268435461

ANSWERS: Final[Mapping[type[Failure], Reply]] = {
    AuthorizationMissing: Reply(401, "SIGN_ERROR", "Http头Authorization值格式错误，请检查请求头", number=_SIGN),
    AuthorizationMalformed: Reply(401, "SIGN_ERROR", "Http头Authorization值格式错误，请检查请求头", number=_SIGN),
    AuthorizationSchemeUnknown: Reply(401, "SIGN_ERROR", "HTTP头Authorization认证类型不正确", number=_SIGN),
    TimestampOutside: Reply(
        401, "SIGN_ERROR", "Http头Authorization中的timestamp与发起请求的时间不得超过5分钟", number=_SIGN
    ),
    CallerUnknown: Reply(401, "SIGN_ERROR", "商户号不存在，请检查Http头Authorization中的mchid", number=_SIGN),
    SerialUnknown: Reply(401, "SIGN_ERROR", "商户证书序列号有误。请使用签名私钥匹配的证书序列号", number=_SIGN),
    CertificateExpired: Reply(401, "SIGN_ERROR", "商户证书不在有效期内", number=_SIGN),
    CertificateRevoked: Reply(401, "SIGN_ERROR", "商户证书已作废", number=_SIGN),
    SignatureInvalid: Reply(401, "SIGN_ERROR", "签名错误，请检查后再试", number=_SIGN),
    AgentMissing: Reply(400, "INVALID_REQUEST", "Http头缺少Accept或User-Agent", number=_PARAM),
    BodyTooLong: Reply(400, "INVALID_REQUEST", "请求体超过1MB", number=268435464),
    BodyUnreadable: Reply(400, "PARAM_ERROR", "请求体不是有效的JSON对象", number=_PARAM),
    ParameterInvalid: Reply(400, "PARAM_ERROR", "参数错误", number=_PARAM),
    MchidDiffers: Reply(400, "PARAM_ERROR", "商户号mchid与Http头Authorization中的mchid不一致，请检查", number=_PARAM),
    AppNotBound: Reply(400, "APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配，请检查", number=268445527),
    ExpiryTooSoon: Reply(400, "INVALID_REQUEST", "订单失效时间time_expire须晚于当前时间1分钟", number=268435464),
    pay.RequestDiffers: Reply(
        400,
        "INVALID_REQUEST",
        "请求重入时，参数与首次请求时不一致",
        number=268498688,
        documented=(403, "OUT_TRADE_NO_USED"),
    ),
    pay.PaymentAlreadySucceeded: Reply(
        400, "ORDERPAID", "该订单已支付", number=268498689, documented=(403, "OUT_TRADE_NO_USED")
    ),
    pay.PaymentAlreadyClosed: Reply(400, "ORDER_CLOSED", "该订单已关闭", number=268447914),
    pay.PaymentNotFound: Reply(404, "ORDER_NOT_EXIST", "订单不存在", number=268512771),
    pay.RefundNotFound: Reply(404, "RESOURCE_NOT_EXISTS", "退款单不存在"),
    pay.TotalDiffers: Reply(
        400, "INVALID_REQUEST", "订单金额或退款金额与之前请求不一致，请核实后再试", number=268498688
    ),
    pay.RefundTooMuch: Reply(400, "INVALID_REQUEST", "订单已全额退款，或退款金额超过可退金额", number=268435464),
    pay.RefundTooLate: Reply(403, "TRADE_OVERDUE", "订单已经超过退款期限"),
    pay.RefundTooOften: Reply(400, "INVALID_REQUEST", "部分退款次数超过50次"),
    pay.RefundTooSoon: Reply(429, "FREQUENCY_LIMITED", "同一订单的两次退款须间隔1分钟", number=268447840),
    pay.MerchantFundsShort: Reply(403, "NOT_ENOUGH", "基本账户余额不足，请充值后重新发起"),
    merchants.ApiKeyMissing: Reply(401, "SIGN_ERROR", "商户未设置APIv3密钥", number=_SIGN),
    Busy: Reply(503, "SERVICE_UNAVAILABLE", "服务繁忙，请稍后重试", number=268447840),
    OutcomeUnknown: Reply(500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用"),
    NoWorld: Reply(500, "SYSTEM_ERROR", "系统异常，请稍后重试"),
    Unreachable: Reply(500, "SYSTEM_ERROR", "系统异常，请用相同参数重新调用"),
}

_BY_KIND: Final[Mapping[Kind, Reply]] = {
    Kind.INVALID: Reply(400, "INVALID_REQUEST", "请求无效", number=_PARAM),
    Kind.UNAUTHENTICATED: Reply(401, "SIGN_ERROR", "签名错误，请检查后再试", number=_SIGN),
    Kind.FORBIDDEN: Reply(403, "NO_AUTH", "商户无权限"),
    Kind.NOT_FOUND: Reply(404, "RESOURCE_NOT_EXISTS", "资源不存在"),
    Kind.CONFLICT: Reply(400, "INVALID_REQUEST", "请求与当前状态不符"),
    Kind.TOO_MANY: Reply(429, "FREQUENCY_LIMITED", "频率超限，请稍后重试", number=268447840),
    Kind.BUSY: Reply(429, "FREQUENCY_LIMITED", "频率超限，请稍后重试", number=268447840),
    Kind.UNAVAILABLE: Reply(500, "SYSTEM_ERROR", "系统异常，请稍后重试"),
}


class Answer(msgspec.Struct, frozen=True):
    """What goes out: status, exact body, and headers in the case in which SDKs look for them. An ASGI application."""

    status: int
    body: bytes
    headers: Headers

    async def __call__(self, _scope: Any, _receive: Any, send: Send) -> None:
        """Put it on the wire; a 204 has neither body nor length."""
        headers = self.headers
        if self.status != 204:
            headers = [*headers, (b"Content-Length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def refuse(
    refusal: Failure, own: Mapping[type[Failure], Reply], *, english: bool, documented: bool, detail: Any = None
) -> Answer:
    """The answer to a refusal; `own` holds what the called endpoint words otherwise than the table."""
    kind = type(refusal)
    reply = own.get(kind) or ANSWERS.get(kind) or _BY_KIND[refusal.kind]
    status, code = reply.documented if documented and reply.documented else (reply.status, reply.code)
    message = (reply.en or refusal.message) if english else reply.zh
    body: dict[str, Any] = {"code": code, "message": message}
    if isinstance(refusal, ParameterInvalid):
        body["message"] = _pointed(message, refusal, english=english)
        body["detail"] = refusal.detail
    elif detail is not None:
        body["detail"] = detail
    return Answer(status, msgspec.json.encode(body), error_headers(reply.number))


def _pointed(message: str, refusal: ParameterInvalid, *, english: bool) -> str:
    location, field = refusal.detail["location"], refusal.detail["field"]
    place = f"/{location}{field}" if field.startswith("/") else f"/{location}/{field}"
    if english:
        return f"Parameter error at {place}: {refusal.issue.en}"
    return f"{message}：输入源“{place}”{refusal.issue.zh}"


def error_headers(number: int) -> Headers:
    """What every refusal carries; none of them is signed."""
    return [(b"Content-Type", _JSON), (b"Request-ID", request_id(number))]


def request_id(number: int = 0) -> bytes:
    """Upper-case hex that no other answer has, a dash, and the number of what went wrong: 0 for nothing."""
    return b"08%s%014X-%d" % (_PROCESS, next(_COUNT), number)


def nothing_here(status: int) -> Answer:
    """The empty answer to an unknown path (404) or a wrong method (405)."""
    return Answer(status, b"", [(b"Request-ID", request_id(_PARAM))])


def signed_headers(*, timestamp: int, nonce: str, signature: str, key_id: str) -> Headers:
    """What every success carries, its names in exactly the case that SDKs look for."""
    return [
        (b"Content-Type", _JSON),
        (b"Cache-Control", b"no-cache, must-revalidate"),
        (b"Request-ID", request_id()),
        (b"Wechatpay-Nonce", nonce.encode()),
        (b"Wechatpay-Serial", key_id.encode()),
        (b"Wechatpay-Signature", signature.encode()),
        (b"Wechatpay-Signature-Type", b"WECHATPAY2-SHA256-RSA2048"),
        (b"Wechatpay-Timestamp", b"%d" % timestamp),
    ]


def wants_english(accept_language: str) -> bool:
    """Whether English is the first of our two languages that the client names; Chinese is the default."""
    for part in accept_language.split(","):
        language = part.partition(";")[0].strip().lower()[:3].rstrip("-")
        if language in ("en", "zh"):
            return language == "en"
    return False
