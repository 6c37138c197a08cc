"""Requests: the bodies of calls as types, and how a body that is not of its type is told so.

Every length counts characters. Unknown fields are ignored: SDKs of newer versions send more than we know.
"""

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, Literal, NoReturn, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Meta

from dewpond.kit.addresses import UrlRefused, parse_url
from dewpond.wechat.answers import BodyUnreadable, Issue, ParameterInvalid

Body = TypeVar("Body")

#: The most one payment may ask for: ten million yuan in fen.
MOST_FEN: Final = 1_000_000_000

OUT_TRADE_NO: Final = r"\A[0-9A-Za-z_\-|*]{6,32}\Z"
OUT_REFUND_NO: Final = r"\A[0-9A-Za-z_\-|*@]{1,64}\Z"
TRANSACTION_ID: Final = r"\A[0-9A-Za-z]{1,32}\Z"

#: No NUL, which no database text can hold.
_PLAIN: Final = r"\A[^\x00]*\Z"
#: Not blank and without control characters: it is shown to people.
_SHOWN: Final = r"(?s)\A(?=.*\S)[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"
_TIME: Final = re.compile(
    r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)
_DETAIL_BYTES: Final = 6144

Text1 = Annotated[str, Meta(min_length=1, pattern=_PLAIN)]
Text32 = Annotated[str, Meta(min_length=1, max_length=32, pattern=_PLAIN)]
Text64 = Annotated[str, Meta(min_length=1, max_length=64, pattern=_PLAIN)]
Text128 = Annotated[str, Meta(min_length=1, max_length=128, pattern=_PLAIN)]
Text256 = Annotated[str, Meta(min_length=1, max_length=256, pattern=_PLAIN)]
Text512 = Annotated[str, Meta(min_length=1, max_length=512, pattern=_PLAIN)]
Name = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"\A[0-9A-Za-z_\-]*\Z")]
Fen = Annotated[int, Meta(ge=1, le=MOST_FEN)]
Count = Annotated[int, Meta(ge=0, le=2**53)]


class Amount(msgspec.Struct, frozen=True):
    """What is asked."""

    total: Fen
    currency: Literal["CNY"] = "CNY"


class Payer(msgspec.Struct, frozen=True):
    """Who shall pay, for trade types that know it beforehand."""

    openid: Text128 | None = None


class StoreInfo(msgspec.Struct, frozen=True):
    """Where the merchant stands."""

    id: Text32
    name: Text256 | None = None
    area_code: Text32 | None = None
    address: Text512 | None = None


class H5Info(msgspec.Struct, frozen=True):
    """Which page or app opens the payment."""

    type: Text32
    app_name: Text64 | None = None
    app_url: Text128 | None = None
    bundle_id: Text128 | None = None
    package_name: Text128 | None = None


class SceneInfo(msgspec.Struct, frozen=True):
    """Where the payment takes place."""

    payer_client_ip: Annotated[str, Meta(min_length=1, max_length=45, pattern=_PLAIN)]
    device_id: Text32 | None = None
    store_info: StoreInfo | None = None
    h5_info: H5Info | None = None


class SettleInfo(msgspec.Struct, frozen=True):
    """How the money shall be settled."""

    profit_sharing: bool | None = None


class Goods(msgspec.Struct, frozen=True):
    """One line of what is bought."""

    merchant_goods_id: Text32
    quantity: Count
    unit_price: Count
    wechatpay_goods_id: Text32 | None = None
    goods_name: Text256 | None = None


class Detail(msgspec.Struct, frozen=True):
    """What is bought."""

    cost_price: Count | None = None
    invoice_id: Text32 | None = None
    goods_detail: Annotated[list[Goods], Meta(min_length=1, max_length=6000)] | None = None


class Prepay(msgspec.Struct, frozen=True):
    """A merchant asks for money (contract §2.2)."""

    appid: Name
    mchid: Text32
    description: Annotated[str, Meta(min_length=1, max_length=127, pattern=_SHOWN)]
    out_trade_no: Annotated[str, Meta(min_length=6, max_length=32, pattern=OUT_TRADE_NO)]
    notify_url: Annotated[str, Meta(min_length=1, max_length=255)]
    amount: Amount
    time_expire: Text64 | None = None
    attach: Text128 | None = None
    goods_tag: Text32 | None = None
    limit_pay: list[Literal["no_balance", "no_credit", "no_debit", "balance_only"]] | None = None
    support_fapiao: bool | None = None
    payer: Payer | None = None
    detail: msgspec.Raw = msgspec.Raw()
    scene_info: SceneInfo | None = None
    settle_info: SettleInfo | None = None


class Closing(msgspec.Struct, frozen=True):
    """A merchant closes what it asked for."""

    mchid: Text32


class RefundSource(msgspec.Struct, frozen=True):
    """From which of the merchant's accounts a part of a refund shall come."""

    account: Literal["AVAILABLE", "UNAVAILABLE"]
    amount: Fen


class RefundAmount(msgspec.Struct, frozen=True):
    """How much goes back, of what."""

    refund: Fen
    total: Fen
    currency: Literal["CNY"]
    sources: list[RefundSource] | None = msgspec.field(default=None, name="from")


class RefundedGoods(msgspec.Struct, frozen=True):
    """One line of what comes back."""

    merchant_goods_id: Text32
    unit_price: Count
    refund_amount: Count
    refund_quantity: Count
    wechatpay_goods_id: Text32 | None = None
    goods_name: Text256 | None = None


class RefundBody(msgspec.Struct, frozen=True):
    """A merchant gives money back (contract §3.2)."""

    out_refund_no: Annotated[str, Meta(min_length=1, max_length=64, pattern=OUT_REFUND_NO)]
    amount: RefundAmount
    transaction_id: Annotated[str, Meta(min_length=1, max_length=32, pattern=TRANSACTION_ID)] | None = None
    out_trade_no: Annotated[str, Meta(min_length=6, max_length=32, pattern=OUT_TRADE_NO)] | None = None
    reason: Annotated[str, Meta(min_length=1, max_length=80, pattern=_PLAIN)] | None = None
    notify_url: Annotated[str, Meta(min_length=8, max_length=256)] | None = None
    funds_account: Literal["AVAILABLE", "UNSETTLED"] | None = None
    goods_detail: list[RefundedGoods] | None = None


# --- reading ----------------------------------------------------------------------------------------------------------


class Form(Generic[Body]):
    """Reads bodies of one kind."""

    def __init__(self, kind: type[Body]) -> None:
        self._decoder = msgspec.json.Decoder(kind)

    def read(self, body: bytes) -> Body:
        """The body as its type; refuses with `BodyUnreadable`, or `ParameterInvalid` for the first wrong field."""
        return _read(self._decoder, body, "")


def _read(decoder: "msgspec.json.Decoder[Body]", body: bytes | msgspec.Raw, root: str) -> Body:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as wrong:
        _point_out(str(wrong), body, root)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BodyUnreadable from None


_DETAIL: Final = msgspec.json.Decoder(Detail)


def read_detail(raw: msgspec.Raw) -> Detail | None:
    """The `detail` of a prepay, which may have at most 6144 bytes; None where there is none."""
    if bytes(raw) in (b"", b"null"):
        return None
    if len(bytes(raw)) > _DETAIL_BYTES:
        issue = Issue(f"longer than {_DETAIL_BYTES} bytes", f"字节数大于最大值 {_DETAIL_BYTES}")
        raise ParameterInvalid("/detail", issue)
    return _read(_DETAIL, raw, "/detail")


_AT: Final = re.compile(r"(.*?)(?: - at `\$(.*)`)?\Z", re.S)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_TYPES: Final = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "null": "null"}
_MISSING: Final = re.compile(r"Object missing required field `(\w+)`")
_LEAST: Final = re.compile(r"Expected `int` >= (-?\d+)")
_MOST: Final = re.compile(r"Expected `int` <= (-?\d+)")
_SHORTEST: Final = re.compile(r"Expected `(?:str|array)` of length >= (\d+)")
_LONGEST: Final = re.compile(r"Expected `(?:str|array)` of length <= (\d+)")
_OTHER_TYPE: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")


def _point_out(complaint: str, body: bytes | msgspec.Raw, root: str) -> NoReturn:
    """Turn what msgspec says into the wire's words: which field, its value, what is wrong with it."""
    found = _AT.match(complaint)
    assert found is not None
    problem, path = found[1], found[2] or ""
    steps: list[str | int] = [name or int(place) for name, place in _STEP.findall(path)]
    missing = _MISSING.match(problem)
    if missing:
        steps.append(missing[1])
    elif not steps and not root:
        raise BodyUnreadable
    raise ParameterInvalid(
        root + "".join(f"/{step}" for step in steps), _issue(problem), value=None if missing else _value(body, steps)
    )


def _issue(problem: str) -> Issue:
    if _MISSING.match(problem):
        return Issue("a required field is missing", "必填字段缺失")
    if found := _LEAST.match(problem):
        return Issue(f"below minimum {found[1]}", f"数值小于最小值 {found[1]}")
    if found := _MOST.match(problem):
        return Issue(f"above maximum {found[1]}", f"数值大于最大值 {found[1]}")
    if found := _SHORTEST.match(problem):
        return Issue(f"shorter than {found[1]}", f"长度小于最小值 {found[1]}")
    if found := _LONGEST.match(problem):
        return Issue(f"longer than {found[1]}", f"长度大于最大值 {found[1]}")
    if found := _OTHER_TYPE.match(problem):
        wanted = _TYPES.get(found[1].removesuffix(" | null"), found[1].removesuffix(" | null"))
        got = _TYPES.get(found[2], found[2])
        return Issue(f"is of type {got}, not {wanted}", f"类型错误，应为{wanted}")
    if problem.startswith("Invalid enum value"):
        return Issue("is not one of the permitted values", "枚举值错误")
    return Issue("is not in the permitted form", "格式错误")


def _value(body: bytes | msgspec.Raw, steps: list[str | int]) -> Any:
    """The offending value, if it is a short scalar; a whole object tells nobody anything."""
    try:
        at: Any = msgspec.json.decode(body)
        for step in steps:
            at = at[step]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError):
        return None
    if isinstance(at, str):
        return at if len(at) <= 256 else at[:256]
    return at if isinstance(at, int | float | bool) else None


# --- what types do not say --------------------------------------------------------------------------------------------


def read_time(text: str, field: str) -> datetime:
    """An RFC 3339 moment in any of its spellings; everything else is `ParameterInvalid`."""
    try:
        if _TIME.match(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):  # the 30th of February, the end of the year 9999
        pass
    issue = Issue("is not an RFC 3339 time with offset", "时间格式错误，应遵循rfc3339")
    raise ParameterInvalid(field, issue, value=text)


def check_notify_url(url: str | None, *, https_only: bool) -> None:
    """Refuse what callbacks can or should not go to: other schemes, query strings, users, and http in live worlds."""
    if url is None:
        return
    issue = _url_issue(url, https_only)
    if issue is not None:
        raise ParameterInvalid("/notify_url", issue, value=url)


@lru_cache(maxsize=4096)
def _url_issue(url: str, https_only: bool) -> Issue | None:
    try:
        target = parse_url(url)
    except UrlRefused as refused:
        return Issue(f"is not a URL that can be called: {refused.facts['reason']}", "不是有效的URL")
    if "?" in url or "#" in url or urlsplit(url).query:
        return Issue("must not have a query string or fragment", "不能携带参数")
    if https_only and target.scheme != "https":
        return Issue("must begin with https://", "必须以https://开头")
    return None


def read_query(query: bytes, field: str) -> str:
    """The one value of a query parameter; missing or given twice is `ParameterInvalid`."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    values = [value for name, value in pairs if name == field]
    if len(values) == 1 and values[0]:
        return values[0]
    issue = Issue("is given more than once", "重复") if len(values) > 1 else Issue("is missing", "必填字段缺失")
    raise ParameterInvalid(field, issue, location="query")


def check_path(value: str, field: str, form: str) -> str:
    """A parameter in the path; one that can name nothing is `ParameterInvalid`."""
    if re.match(form, value) is None:
        issue = Issue("is not in the permitted form", "格式错误")
        raise ParameterInvalid(field, issue, value=value[:64], location="url")
    return value


def fingerprint(*parts: Any) -> bytes:
    """What a repeat must bring again: the hash of the parameters that mean something, however they were written."""
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=32).digest()
