"""Scans: signing in on a second device with the first. The second shows a code, the first reads and approves it.

    waiting ──▶ approved ──▶ redeemed     (once, by the browser that asked; two minutes for all of it)
       └──────▶ refused                   (by the person, or by a wrong number)

Against a stranger who shows somebody a code of their own: the phone says which device asks and from where, and the
person must choose, out of three numbers, the one they see on the other screen. A wrong choice ends it. Knowing the
code is not enough to redeem it: that takes the secret which only the asking browser has.
"""

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from dewpond.identity.people import PersonId
from dewpond.identity.sessions import Realm, Session, label
from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import to_text

sql = queries(__file__)

LIFETIME: Final = timedelta(minutes=2)
_CHOICES: Final = 3

_dice = secrets.SystemRandom()


class ScanSpent(Failure):
    """This code was used already, refused, or is older than two minutes: let a new one be shown."""

    code, kind = "scan_spent", Kind.CONFLICT


class ScanState(StrEnum):
    """How far it has come."""

    WAITING = "waiting"
    APPROVED = "approved"
    REFUSED = "refused"
    #: Too old, used up, or never there.
    EXPIRED = "expired"


class BegunScan(msgspec.Struct, frozen=True, kw_only=True):
    """What the asking browser shows, and what it keeps to itself."""

    id: UUID
    #: The number to be shown beside the code, and nowhere else.
    number: int
    #: For the browser's cookie: without it nobody redeems.
    browser_secret: str
    expires_at: datetime

    @property
    def text_id(self) -> str:
        return to_text("scn", self.id)


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What the phone is shown before it says yes."""

    id: UUID
    #: Which device asks, and from where.
    device: str
    address: str
    #: One of them stands on the other screen.
    numbers: tuple[int, ...]
    created_at: datetime
    expires_at: datetime

    @property
    def text_id(self) -> str:
        return to_text("scn", self.id)


async def begin_scan(tx: Tx, *, device: str, address: str, wall_now: datetime) -> BegunScan:
    """A code for a browser that wants to be signed in by a phone."""
    # All 128 bits at random: an id of the usual kind could be guessed in part from the time.
    scan_id = UUID(bytes=secrets.token_bytes(16))
    browser_secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    numbers = _dice.sample(range(10, 100), _CHOICES)
    number = _dice.choice(numbers)
    await tx.run(
        sql.begin_scan,
        id=scan_id,
        browser_hash=_digest(browser_secret),
        device=label(device),
        address=label(address),
        numbers=numbers,
        number=number,
        created_at=wall_now,
        expires_at=wall_now + LIFETIME,
    )
    return BegunScan(id=scan_id, number=number, browser_secret=browser_secret, expires_at=wall_now + LIFETIME)


async def get_scan(tx: Tx, scan_id: UUID, *, wall_now: datetime) -> Scan:
    """What asks to be approved, for the phone that read the code; `ScanSpent` where nothing does any more."""
    scan = await tx.row(Scan, sql.find_scan, id=scan_id, wall_now=wall_now)
    if scan is None:
        raise ScanSpent
    return scan


async def approve_scan(tx: Tx, scan_id: UUID, session: Session, number: int, *, wall_now: datetime) -> ScanState:
    """Let the asking browser in as the person of this session, if `number` is the one on its screen.

    APPROVED, or REFUSED for a wrong number: that is an answer and no `Failure`, because it must be written down. The
    first answer stands; afterwards, and when it is too late, it is `ScanSpent`.
    """
    if session.realm is not Realm.PERSON:
        raise ValueError("only people are signed in by a scan")
    return await _answer(tx, scan_id, session.holder_id, number, wall_now)


async def refuse_scan(tx: Tx, scan_id: UUID, *, wall_now: datetime) -> ScanState:
    """Say no for good: REFUSED, or `ScanSpent` where there was nothing left to refuse."""
    return await _answer(tx, scan_id, None, None, wall_now)


async def get_scan_state(tx: Tx, scan_id: UUID, browser_secret: str, *, wall_now: datetime) -> ScanState:
    """How far it has come, for the browser that asked; EXPIRED for everybody else."""
    state: str | None = await tx.value(
        sql.scan_state, id=scan_id, browser_hash=_digest(browser_secret), wall_now=wall_now
    )
    return ScanState.EXPIRED if state is None else ScanState(state)


async def redeem_scan(tx: Tx, scan_id: UUID, browser_secret: str, *, wall_now: datetime) -> PersonId:
    """Who approved; exactly once, and only for the browser that asked. `ScanSpent` for everything else.

    The caller opens the session, in this transaction.
    """
    person_id: PersonId | None = await tx.value(
        sql.redeem_scan, id=scan_id, browser_hash=_digest(browser_secret), wall_now=wall_now
    )
    if person_id is None:
        raise ScanSpent
    return person_id


async def _answer(tx: Tx, scan_id: UUID, person_id: UUID | None, number: int | None, wall_now: datetime) -> ScanState:
    state: str | None = await tx.value(
        sql.answer_scan, id=scan_id, person_id=person_id, number=number, wall_now=wall_now
    )
    if state is None:
        raise ScanSpent
    return ScanState(state)


def _digest(browser_secret: str) -> bytes:
    return hashlib.sha256(browser_secret.encode()).digest()
