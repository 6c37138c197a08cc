"""Sessions: who is signed in, on which device, since when, and when they last proved to be there in person.

The token a browser keeps is holder, session and 256 random bits in base64url. Both ids lead straight to the row, and
the table keeps only the SHA-256 of the random part: a copy of it signs nobody in.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import new_id

sql = queries(__file__)

_SECRET_BYTES: Final = 32
_TOKEN_LENGTH: Final = 86
_LABEL_LENGTH: Final = 64

#: How long a proof in person counts.
FRESH: Final = timedelta(minutes=5)
#: A session is written to no more often than this.
_TOUCH: Final = timedelta(minutes=5)


class Realm(StrEnum):
    """Whose door it is. What is good for one is worth nothing at the other."""

    PERSON = "person"
    STAFF = "staff"


#: How long a session lives after it was last seen, and how long at most.
_IDLE: Final = {Realm.PERSON: timedelta(days=90), Realm.STAFF: timedelta(hours=12)}
_LONGEST: Final = {Realm.PERSON: None, Realm.STAFF: timedelta(days=7)}


class How(StrEnum):
    """By what a session was opened."""

    PASSKEY = "passkey"
    PASSWORD = "password"  # noqa: S105 - the word, not one
    #: Approved on a device that was signed in already.
    SCAN = "scan"
    INVITATION = "invitation"
    #: The sandbox's door.
    ONE_TAP = "one_tap"


class SessionEnded(Failure):
    """This sign-in has ended: sign in again."""

    code, kind = "session_ended", Kind.UNAUTHENTICATED


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One holder signed in on one device."""

    holder_id: UUID
    id: UUID
    realm: Realm
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    #: When the holder last proved in it to be there in person; None where that never was.
    proven_at: datetime | None
    device: str
    address: str
    how: How

    def is_fresh(self, wall_now: datetime) -> bool:
        """Whether the last proof in person is less than five minutes old."""
        return self.proven_at is not None and wall_now - self.proven_at < FRESH

    def is_due(self, wall_now: datetime) -> bool:
        """Whether it is time again to write down that it is in use."""
        return wall_now - self.seen_at >= _TOUCH


class _Held(Session, frozen=True, kw_only=True):
    secret_hash: bytes


async def open_session(
    tx: Tx,
    realm: Realm,
    holder_id: UUID,
    *,
    device: str,
    address: str,
    how: How,
    wall_now: datetime,
    is_proven: bool = False,
) -> tuple[Session, str]:
    """Sign a holder in: the session, and the token that its browser keeps. The token cannot be asked for again.

    `is_proven` where the sign-in itself was a proof in person, as by passkey.
    """
    secret = secrets.token_bytes(_SECRET_BYTES)
    session = Session(
        holder_id=holder_id,
        id=new_id(),
        realm=realm,
        created_at=wall_now,
        seen_at=wall_now,
        expires_at=_expiry(realm, created_at=wall_now, seen_at=wall_now),
        proven_at=wall_now if is_proven else None,
        device=label(device),
        address=label(address),
        how=how,
    )
    await tx.run(
        sql.open_session,
        holder_id=holder_id,
        id=session.id,
        realm=realm,
        secret_hash=_digest(secret),
        how=how,
        device=session.device,
        address=session.address,
        created_at=wall_now,
        expires_at=session.expires_at,
        proven_at=session.proven_at,
    )
    token = base64.urlsafe_b64encode(holder_id.bytes + session.id.bytes + secret).rstrip(b"=").decode()
    return session, token


async def find_sessions(tx: Tx, tokens: Sequence[str], realm: Realm, *, wall_now: datetime) -> list[Session | None]:
    """The session of each token in the order asked; None for what is no token, ended, too old or of another realm.

    One statement for all, so that a busy site can ask once for many requests.
    """
    parsed = [_parse(token) for token in tokens]
    wanted = [token for token in parsed if token is not None]
    if not wanted:
        return [None] * len(parsed)
    holder_ids, ids, _ = columns(sorted(set(wanted)), 3)
    rows = await tx.rows(_Held, sql.find_sessions, holder_ids=holder_ids, ids=ids, realm=realm, wall_now=wall_now)
    held = {(row.holder_id, row.id): row for row in rows}
    return [None if token is None else _opened_by(held.get(token[:2]), token[2]) for token in parsed]


async def ended_among(
    tx: Tx, realm: Realm, sessions: Collection[tuple[UUID, UUID]], *, wall_now: datetime
) -> set[UUID]:
    """Which of these sessions, each by its holder and its id, are no more: ended, too old, or never there.

    For who was let in by a token before and is to be let go in time; being asked prolongs nothing.
    """
    if not sessions:
        return set()
    holder_ids, ids = columns(list(sessions), 2)
    return set(await tx.values(sql.ended_among, holder_ids=holder_ids, ids=ids, realm=realm, wall_now=wall_now))


async def touch_sessions(tx: Tx, sessions: Sequence[Session], wall_now: datetime) -> list[Session]:
    """Note that these sessions are in use, which lengthens their life; each is written down every five minutes at most.

    They come back as they are now, in their order: as they were where nothing was due, or where they have ended.
    """
    due = {
        (session.holder_id, session.id): _expiry(session.realm, created_at=session.created_at, seen_at=wall_now)
        for session in sessions
        if session.is_due(wall_now)
    }
    if not due:
        return list(sessions)
    holder_ids, ids, expires_at = columns([(*key, expires_at) for key, expires_at in due.items()], 3)
    found = await tx.values(sql.touch_sessions, holder_ids=holder_ids, ids=ids, expires_at=expires_at, seen_at=wall_now)
    touched = set(found)
    return [
        msgspec.structs.replace(session, seen_at=wall_now, expires_at=due[session.holder_id, session.id])
        if session.id in touched
        else session
        for session in sessions
    ]


async def prove_session(tx: Tx, session: Session, wall_now: datetime) -> Session:
    """Note that the holder has just proved to be there in person. Refuses with `SessionEnded` when it has ended."""
    if not await tx.run(sql.prove_session, holder_id=session.holder_id, id=session.id, wall_now=wall_now):
        raise SessionEnded
    return msgspec.structs.replace(session, proven_at=wall_now)


async def list_sessions(tx: Tx, realm: Realm, holder_id: UUID, *, wall_now: datetime) -> list[Session]:
    """Where a holder is signed in, the device last seen first."""
    return await tx.rows(Session, sql.list_sessions, holder_id=holder_id, realm=realm, wall_now=wall_now)


async def end_session(tx: Tx, realm: Realm, holder_id: UUID, session_id: UUID, *, wall_now: datetime) -> bool:
    """Sign one of a holder's devices out, for good and at once; whether it was signed in. Again is no change."""
    ended = await tx.run(sql.end_session, holder_id=holder_id, id=session_id, realm=realm, wall_now=wall_now)
    return ended > 0


async def end_other_sessions(tx: Tx, session: Session, *, wall_now: datetime) -> int:
    """Sign every other device of this holder out; how many there were."""
    return await tx.run(
        sql.end_sessions, holder_id=session.holder_id, realm=session.realm, but=session.id, wall_now=wall_now
    )


async def end_all_sessions(tx: Tx, realm: Realm, holder_id: UUID, *, wall_now: datetime) -> int:
    """Sign a holder out everywhere, as when staff leave or a password is replaced; how many devices there were."""
    return await tx.run(sql.end_sessions, holder_id=holder_id, realm=realm, but=None, wall_now=wall_now)


def label(text: str) -> str:
    """What a face says of a device or an address, short and with nothing in it that does not show."""
    return "".join(letter for letter in text if letter.isprintable()).strip()[:_LABEL_LENGTH]


def _expiry(realm: Realm, *, created_at: datetime, seen_at: datetime) -> datetime:
    longest = _LONGEST[realm]
    expires_at = seen_at + _IDLE[realm]
    return expires_at if longest is None else min(expires_at, created_at + longest)


def _parse(token: str) -> tuple[UUID, UUID, bytes] | None:
    """Holder, session and the digest of the secret; None for what is no token of ours."""
    if len(token) != _TOKEN_LENGTH or not token.isascii():
        return None
    try:
        raw = base64.b64decode(token + "==", altchars=b"-_", validate=True)
    except ValueError:
        return None
    return UUID(bytes=raw[:16]), UUID(bytes=raw[16:32]), _digest(raw[32:])


def _opened_by(row: _Held | None, secret_hash: bytes) -> Session | None:
    if row is None or not hmac.compare_digest(row.secret_hash, secret_hash):
        return None
    return msgspec.convert(row, Session, from_attributes=True)


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
