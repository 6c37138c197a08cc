"""Acts: what staff did, one row for each, written in the transaction that does it and never changed.

Money has its own books; here stands who let whom in, who drew a key, who moved the clock. The faces write it, for they
know who sits before them and where.
"""

from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, queries
from dewpond.kit.ids import derived_id, new_id
from dewpond.merchants.merchants import MerchantId
from dewpond.merchants.staff import StaffId

sql = queries(__file__)

#: Letters of a subject or a detail that are kept.
_LENGTH: Final = 200


class Deed(StrEnum):
    """What can be done that somebody may want to read about later. After each: its subject, and its detail."""

    #: The account; the role, or "operator".
    STAFF_INVITED = "staff_invited"
    #: The account that another link was made for.
    LINK_MADE = "link_made"
    #: The account whose link was used, by whoever had it.
    CAME_IN = "came_in"
    #: The account.
    STAFF_ENDED = "staff_ended"
    #: The account; the role.
    ROLE_GIVEN = "role_given"
    #: The account.
    ROLE_ENDED = "role_ended"
    MERCHANT_MADE = "merchant_made"
    #: The serial number.
    CERTIFICATE_ISSUED = "certificate_issued"
    CERTIFICATE_REVOKED = "certificate_revoked"
    API_KEY_DRAWN = "api_key_drawn"
    #: Nothing; the mode.
    KEY_MODE_CHOSEN = "key_mode_chosen"
    #: The code; its title.
    CODE_MADE = "code_made"
    #: The code.
    CODE_ENDED = "code_ended"
    #: The delivery.
    DELIVERY_RESENT = "delivery_resent"
    #: The payment; the sum.
    REFUND_MADE = "refund_made"
    #: The person, and the sum.
    TOP_UP_MADE = "top_up_made"
    TOP_UP_PROPOSED = "top_up_proposed"
    TOP_UP_AGREED = "top_up_agreed"
    TOP_UP_REFUSED = "top_up_refused"
    TOP_UP_WITHDRAWN = "top_up_withdrawn"
    #: The person who was signed out everywhere.
    SESSIONS_ENDED = "sessions_ended"
    #: The person.
    PIN_SET = "pin_set"
    #: The person whose account was looked at; once an hour for each who looks.
    PERSON_SEEN = "person_seen"
    #: The platform's new certificate.
    PLATFORM_CERTIFICATE_ADDED = "platform_certificate_added"
    #: Nothing; the master key.
    MASTER_KEY_ADDED = "master_key_added"
    #: Nothing; the master key that every secret lies under from then on.
    SECRETS_SEALED = "secrets_sealed"
    CLOCK_FROZEN = "clock_frozen"
    CLOCK_THAWED = "clock_thawed"
    #: Nothing; the moment it is to be moved to.
    CLOCK_MOVED = "clock_moved"
    CLOCK_STOPPED = "clock_stopped"
    BOOK_CHECKED = "book_checked"
    BOOK_CHECK_STOPPED = "book_check_stopped"
    #: The job.
    WORK_RELEASED = "work_released"


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One deed of one person at one moment."""

    #: Its place in the journal; later ones are larger.
    position: int
    deed: Deed
    #: None from the terminal.
    staff_id: StaffId | None
    #: None where it concerns the world as a whole.
    merchant_id: MerchantId | None
    #: An id as people see it, or empty.
    subject: str
    #: As a machine writes it: a role, a mode, `18.00 CNY`, a moment in ISO 8601.
    detail: str
    #: Where the request came from; empty from the terminal.
    address: str
    #: World time.
    occurred_at: datetime
    #: Wall time.
    recorded_at: datetime


async def record_act(
    tx: Tx,
    deed: Deed,
    *,
    by: StaffId | None,
    now: Now,
    merchant_id: MerchantId | None = None,
    subject: str = "",
    detail: str = "",
    address: str = "",
    once: UUID | None = None,
) -> bool:
    """Write down what was done, in the transaction that does it. `by` is who did it, None from the terminal.

    What is done once however often it is asked for (a form that is sent twice) is written down once: `once` is its id.
    False where that was done before.
    """
    written = await tx.run(
        sql.record_act,
        id=new_id() if once is None else derived_id("act", deed, once),
        deed=deed,
        staff_id=by,
        merchant_id=merchant_id,
        subject=subject[:_LENGTH],
        detail=detail[:_LENGTH],
        address=address,
        occurred_at=now.world,
        recorded_at=now.wall,
    )
    return written > 0


async def list_acts(
    tx: Tx,
    *,
    merchant_id: MerchantId | None = None,
    staff_id: StaffId | None = None,
    before: int | None = None,
    most: int = 50,
) -> list[Act]:
    """A page of the journal, the newest first; the next page is `before` the last one's position.

    Of one merchant, of one member of staff, or of one at the other, where these are given.
    """
    if merchant_id is not None:
        return await tx.rows(
            Act, sql.list_acts_at, merchant_id=merchant_id, staff_id=staff_id, before=before, most=most
        )
    if staff_id is not None:
        return await tx.rows(Act, sql.list_acts_by, staff_id=staff_id, before=before, most=most)
    return await tx.rows(Act, sql.list_acts, before=before, most=most)
