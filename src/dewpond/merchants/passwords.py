"""Passwords of staff: argon2id, and a try is spent before it is compared.

    hashed = await hash_password(password, member)              # waits its turn, and holds nothing meanwhile
    await set_password(tx, member.id, hashed, wall_now=…)

Ten wrong ones lock a name for a quarter of an hour. Names that nobody has are counted, locked and compared in the same
way and with the same work, so whoever tries learns neither which names there are nor how many tries were right before
the lock. Passkeys are not locked by it.
"""

import asyncio
import hashlib
import hmac
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final, NewType, TypeVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dewpond.kit.db import Database, Tx, in_transaction, queries
from dewpond.kit.failures import Busy, Failure, Kind
from dewpond.kit.secrets import MasterKeys
from dewpond.merchants.invitations import void_invitation
from dewpond.merchants.staff import StaffId, StaffMember, get_staff_member, lock_staff_member, plain_sign_in_name

sql = queries(__file__)

T = TypeVar("T")

#: A password as it is kept.
PasswordHash = NewType("PasswordHash", str)

SHORTEST_PASSWORD: Final = 10
_LONGEST: Final = 200
_DIFFERENT: Final = 4

TRIES: Final = 10
LOCK_OUT: Final = timedelta(minutes=15)
_BUCKETS: Final = 2**20

#: The second recommended choice of RFC 9106: 64 MiB, three passes, four lanes.
HASHER: Final = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
#: Two at a time: that many times 64 MiB is what a flood of sign-ins may take. Others stand in line, and whoever stands
#: there holds no connection and no lock.
_POOL: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="dewpond-passwords")
#: As many may stand in line; whoever comes then is told at once to come back, before a try is spent.
MOST_WAITING: Final = 20

#: What is compared where there is nothing to compare with: made of random bytes that nobody kept.
NOBODYS_HASH: Final = (
    "$argon2id$v=19$m=65536,t=3,p=4$xzMbbmzK77/jVkuqY4frFQ$TK86/JBWW0EFgqCJxnrxWaBWI/+v77KMjtK2zD+EIzM"
)


class PasswordWeak(Failure):
    """A password needs 10 to 200 characters, not just a few of them repeated, and must not contain its owner's name."""

    code, kind = "password_weak", Kind.INVALID


class SignInRefused(Failure):
    """That name and that password do not belong together."""

    code, kind = "sign_in_refused", Kind.UNAUTHENTICATED


class SignInLocked(Failure):
    """Too many wrong passwords for that name: it is locked for fifteen minutes. A passkey still opens."""

    code, kind = "sign_in_locked", Kind.FORBIDDEN


class _Held(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a sign-in name."""

    id: StaffId
    hash: str | None
    #: A hash that is reckoned anew keeps it.
    set_at: datetime | None


class _Spent(msgspec.Struct, frozen=True, kw_only=True):
    """A try that was counted."""

    #: Set with the last one, before that is compared.
    locked_until: datetime | None


async def hash_password(password: str, member: StaffMember) -> PasswordHash:
    """What is to be kept of a password that this member of staff has chosen. Refuses with `PasswordWeak`.

    Reckoned before the transaction that sets it, and must not be called inside of one; `Busy` where too many wait.
    """
    _require_room()
    password = _plain(password)
    if not _is_strong(password, member):
        raise PasswordWeak
    return await _hash(password)


async def set_password(tx: Tx, staff_id: StaffId, hashed: PasswordHash, *, wall_now: datetime) -> None:
    """Set or replace a password; a link into the account that is still open leads nowhere any more.

    Refuses with `StaffMemberNotFound`. Sessions that were opened with the old one are identity's to end.
    """
    if not hashed.startswith("$argon2id$"):
        raise ValueError("a password is hashed before it is set")
    await lock_staff_member(tx, staff_id)
    await void_invitation(tx, staff_id)
    await tx.run(sql.set_password, staff_id=staff_id, hash=hashed, set_at=wall_now)


async def has_password(tx: Tx, staff_id: StaffId) -> bool:
    """Whether somebody has set a password."""
    return await tx.value(sql.find_hash, staff_id=staff_id) is not None


async def check_password(
    db: Database, sign_in_name: str, password: str, *, secrets: MasterKeys, wall_now: datetime
) -> StaffMember:
    """Who signs in, if name and password belong together; else `SignInRefused`, or `SignInLocked` with `until`.

    The try is committed before it is compared, however the request ends and however many come at once: that is why
    this takes the database and not a transaction, and must not be called inside of one. A password that is replaced
    while it is compared opens nothing. Where too many wait to be compared it is `Busy`, and nothing is spent.
    """
    assert not in_transaction(), "the try must be committed before it is compared"
    _require_room()
    name, password = plain_sign_in_name(sign_in_name) or "", _plain(password)
    bucket = _bucket(sign_in_name, secrets)
    async with db.transaction() as tx:
        spent = await tx.row(
            _Spent, sql.spend_try, bucket=bucket, most=TRIES, until=wall_now + LOCK_OUT, wall_now=wall_now
        )
        if spent is None:
            raise _locked(await tx.value(sql.locked_until, bucket=bucket))
        held = await tx.row(_Held, sql.find_password, sign_in_name=name)
    known = held.hash if held is not None and len(password) <= _LONGEST else None
    right = await _off_the_loop(lambda: _is_right(known or NOBODYS_HASH, password))
    if not right or held is None or known is None:
        raise _locked(spent.locked_until) if spent.locked_until else SignInRefused()
    renewed = await _hash(password) if HASHER.check_needs_rehash(known) else None
    async with db.transaction() as tx:
        held_now = await tx.row(_Held, sql.find_password, sign_in_name=name)
        if held_now is None or held_now.set_at != held.set_at:
            raise SignInRefused
        member = await get_staff_member(tx, held.id)
        await tx.run(sql.forgive_tries, bucket=bucket)
        if renewed is not None:
            await tx.run(sql.renew_hash, staff_id=held.id, hash=renewed, before=known)
    return member


def _bucket(sign_in_name: str, secrets: MasterKeys) -> int:
    """Where tries of a name are counted. Keyed: nobody can look for another name that is counted with it."""
    key = secrets.derive("sign-in tries", secrets.current_id)
    digest = hmac.new(key, _as_bytes(sign_in_name.strip().lower()), hashlib.sha256).digest()
    return int.from_bytes(digest[:4], "big") % _BUCKETS


def _plain(password: str) -> str:
    """The same however a keyboard puts its letters together."""
    return unicodedata.normalize("NFKC", password)


def _as_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _is_strong(password: str, member: StaffMember) -> bool:
    """Length is what counts; the rest keeps out what is tried first."""
    folded = password.casefold()
    names = {member.sign_in_name, member.sign_in_name.partition("@")[0], member.name.casefold()}
    return (
        SHORTEST_PASSWORD <= len(password) <= _LONGEST
        and len(set(folded)) >= _DIFFERENT
        and not any(len(name) > 2 and name in folded for name in names)
        and folded not in names
    )


def _is_right(known: str, password: str) -> bool:
    try:
        return HASHER.verify(known, _as_bytes(password))
    except (VerificationError, InvalidHashError):
        return False


def _locked(until: datetime | None) -> SignInLocked:
    assert until is not None, "a name is locked until some moment"
    return SignInLocked(until=until.isoformat(timespec="seconds"))


async def _hash(password: str) -> PasswordHash:
    assert not in_transaction(), "nobody holds a connection while a password is reckoned"
    return PasswordHash(await _off_the_loop(lambda: HASHER.hash(_as_bytes(password))))


class _Line:
    """Who stands before the two threads, which all of a process share."""

    waiting = 0


def _require_room() -> None:
    if _Line.waiting >= MOST_WAITING:
        raise Busy


async def _off_the_loop(work: Callable[[], T]) -> T:
    _Line.waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_POOL, work)
    finally:
        _Line.waiting -= 1
