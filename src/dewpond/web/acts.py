"""Acts of staff: written down in the transaction that does them, and told as sentences where somebody reads them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog
from litestar import Request

from dewpond import merchants
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.ids import IdInvalid, from_text, to_text
from dewpond.kit.money import AmountInvalid, Currency, Money
from dewpond.merchants import Act, Deed, KeyMode, Merchant, MerchantId, Role, StaffId, StaffMember
from dewpond.web.sites import visitor_of
from dewpond.web.visitors import address_of
from dewpond.web.words import gettext, marked, moment
from dewpond.web.words import money as money_text

log = structlog.get_logger(__name__)

#: The detail of an operator's invitation, beside the roles.
OPERATOR: Final = "operator"

_SENTENCES: Final[Mapping[Deed, str]] = {
    Deed.STAFF_INVITED: marked("Invited %(subject)s (%(detail)s)"),
    Deed.LINK_MADE: marked("Created a new sign-in link for %(subject)s"),
    Deed.CAME_IN: marked("Set a password by an invitation link"),
    Deed.STAFF_ENDED: marked("Removed %(subject)s"),
    Deed.ROLE_GIVEN: marked("Changed the role of %(subject)s to: %(detail)s"),
    Deed.ROLE_ENDED: marked("Removed %(subject)s from the shop"),
    Deed.MERCHANT_MADE: marked("Created the merchant"),
    Deed.CERTIFICATE_ISSUED: marked("Issued certificate %(subject)s"),
    Deed.CERTIFICATE_REVOKED: marked("Revoked certificate %(subject)s"),
    Deed.API_KEY_DRAWN: marked("Replaced the API v3 key"),
    Deed.KEY_MODE_CHOSEN: marked("Changed the key that signs to: %(detail)s"),
    Deed.CODE_MADE: marked("Created the printed code “%(detail)s”"),
    Deed.CODE_ENDED: marked("Took down printed code %(subject)s"),
    Deed.DELIVERY_RESENT: marked("Sent a delivery again"),
    Deed.REFUND_MADE: marked("Refunded %(detail)s"),
    Deed.TOP_UP_MADE: marked("Topped up a wallet with %(detail)s"),
    Deed.TOP_UP_PROPOSED: marked("Requested a top-up of %(detail)s"),
    Deed.TOP_UP_AGREED: marked("Agreed to a top-up of %(detail)s"),
    Deed.TOP_UP_REFUSED: marked("Refused a top-up of %(detail)s"),
    Deed.TOP_UP_WITHDRAWN: marked("Took back a request to top up %(detail)s"),
    Deed.SESSIONS_ENDED: marked("Signed a person out on all devices"),
    Deed.PIN_SET: marked("Set a person's payment PIN"),
    Deed.PERSON_SEEN: marked("Looked at a person's account"),
    Deed.PLATFORM_CERTIFICATE_ADDED: marked("Added platform certificate %(subject)s"),
    Deed.MASTER_KEY_ADDED: marked("Added master key %(detail)s"),
    Deed.SECRETS_SEALED: marked("Sealed every secret anew under master key %(detail)s"),
    Deed.CLOCK_FROZEN: marked("Froze the clock"),
    Deed.CLOCK_THAWED: marked("Let the clock run"),
    Deed.CLOCK_MOVED: marked("Moved the clock to %(detail)s"),
    Deed.CLOCK_STOPPED: marked("Stopped moving the clock"),
    Deed.BOOK_CHECKED: marked("Started a full check of the ledger"),
    Deed.BOOK_CHECK_STOPPED: marked("Stopped the full check of the ledger"),
    Deed.WORK_RELEASED: marked("Tried a stuck task again"),
}

#: What a detail says that is one of a few words.
_WORDS: Final[Mapping[str, str]] = {
    OPERATOR: marked("Operator"),
    Role.OWNER: marked("Owner"),
    Role.CASHIER: marked("Cashier"),
    Role.ANALYST: marked("Analyst"),
    KeyMode.CERTIFICATE: marked("Platform certificate"),
    KeyMode.PUBLIC_KEY: marked("Platform public key"),
}
_OF_MONEY: Final = frozenset(
    {
        Deed.REFUND_MADE,
        Deed.TOP_UP_MADE,
        Deed.TOP_UP_PROPOSED,
        Deed.TOP_UP_AGREED,
        Deed.TOP_UP_REFUSED,
        Deed.TOP_UP_WITHDRAWN,
    }
)
#: From here on a reader is told both times.
_APART: Final = timedelta(minutes=1)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An act as the journal shows it."""

    act: Act
    #: What was done, in the visitor's language.
    said: str
    #: None from the terminal.
    by: StaffMember | None
    merchant: Merchant | None

    @property
    def is_apart(self) -> bool:
        """Whether the world's clock said something else."""
        return abs(self.act.occurred_at - self.act.recorded_at) >= _APART


async def note_act(
    tx: Tx,
    request: Request[Any, Any, Any],
    deed: Deed,
    *,
    now: Now,
    merchant_id: MerchantId | None = None,
    subject: str = "",
    detail: str = "",
    once: UUID | None = None,
) -> None:
    """Write down what this visitor does, in its transaction, and tell the log.

    `once` is the id of what is done once, however often its form is sent.
    """
    by = StaffId(visitor_of(request).session.holder_id)
    is_new = await merchants.record_act(
        tx,
        deed,
        by=by,
        now=now,
        merchant_id=merchant_id,
        subject=subject,
        detail=detail,
        address=address_of(request),
        once=once,
    )
    if is_new:
        log.info("staff.act", deed=deed.value, by=to_text("stf", by), subject=subject, detail=detail)


def read_position(request: Request[Any, Any, Any]) -> int | None:
    """Where the next page of a journal begins, as `before` in the address says; None for the first one."""
    text = request.query_params.get("before", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


async def read_lines(tx: Tx, acts: Sequence[Act]) -> list[Line]:
    """These acts with everybody's names, in their order."""
    subjects = {act.subject: _staff_of(act.subject) for act in acts}
    wanted = {act.staff_id for act in acts} | set(subjects.values())
    staff = {one.id: one for one in await merchants.list_staff_members(tx, [id_ for id_ in wanted if id_])}
    places = {act.merchant_id for act in acts if act.merchant_id is not None}
    shops = {one.id: one for one in await merchants.list_merchants(tx, list(places))}
    lines = []
    for act in acts:
        subject_id = subjects[act.subject]
        member = None if subject_id is None else staff.get(subject_id)
        lines.append(
            Line(
                act=act,
                said=_said(act, act.subject if member is None else member.name),
                by=None if act.staff_id is None else staff.get(act.staff_id),
                merchant=None if act.merchant_id is None else shops.get(act.merchant_id),
            )
        )
    return lines


def _staff_of(subject: str) -> StaffId | None:
    try:
        return StaffId(from_text("stf", subject))
    except IdInvalid:
        return None


def _said(act: Act, subject: str) -> str:
    return gettext(_SENTENCES[act.deed]) % {"subject": subject, "detail": _detail(act)}


def _detail(act: Act) -> str:
    """What an act came to, in the visitor's language; what cannot be read stands as it was written."""
    try:
        if act.deed in _OF_MONEY:
            amount, _, currency = act.detail.partition(" ")
            return money_text(Money.parse(amount, Currency(currency)))
        if act.deed is Deed.CLOCK_MOVED:
            return moment(datetime.fromisoformat(act.detail))
    except (AmountInvalid, ValueError):
        return act.detail
    return gettext(_WORDS.get(act.detail, act.detail)) if act.detail else ""
