"""Visitors: who is there, by the session cookie, and the cookie itself.

Each site has a cookie of its own. Over https it is a `__Host-` cookie, which no neighbour can set; sessions are always
made anew at sign-in, so a planted one leads nowhere.
"""

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from dewpond import identity, merchants
from dewpond.identity import How, Person, Realm, Session
from dewpond.kit import clock
from dewpond.kit.addresses import IPAddress
from dewpond.kit.batch import Batch
from dewpond.kit.db import Database, Tx
from dewpond.kit.failures import Failure
from dewpond.merchants import StaffMember
from dewpond.web.words import gettext

_MAX_AGE: Final = 400 * 24 * 3600


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who has signed in: a person on the phone's site, a member of staff on the other."""

    session: Session
    person: Person | None = None
    member: StaffMember | None = None

    @property
    def name(self) -> str:
        if self.person is not None:
            return self.person.name
        return self.member.name if self.member is not None else ""


class Visitors:
    """Looks visitors up, many requests at once; what another process ended a moment ago is not let in."""

    def __init__(self, db: Database, realm: Realm, *, is_secure: bool) -> None:
        self._db = db
        self._realm = realm
        self._is_secure = is_secure
        self.cookie_name = f"{'__Host-' if is_secure else ''}dewpond-{realm}"
        self.lookups: Batch[str, Visitor | None] = Batch(self._find, lanes=1)

    async def find(self, connection: ASGIConnection[Any, Any, Any, Any]) -> Visitor | None:
        """Who sends this request, or None."""
        token = connection.cookies.get(self.cookie_name, "")
        return await self.lookups.submit(token) if 0 < len(token) <= 200 else None

    async def _find(self, tokens: Sequence[str]) -> Sequence[Visitor | Failure | None]:
        wall = clock.wall_now()
        async with self._db.reading() as tx:
            sessions = await identity.find_sessions(tx, tokens, self._realm, wall_now=wall)
            visitors = await self._known(tx, sessions)
        due = [one for one in sessions if one is not None and one.is_due(wall)]
        if due:
            async with self._db.transaction() as tx:
                await identity.touch_sessions(tx, due, wall)
        return visitors

    async def _known(self, tx: Tx, sessions: Sequence[Session | None]) -> list[Visitor | None]:
        holders = [one.holder_id for one in sessions if one is not None]
        if self._realm is Realm.PERSON:
            people = {one.id: one for one in await identity.list_people(tx, holders)}
            return [_person(one, people.get(identity.PersonId(one.holder_id))) if one else None for one in sessions]
        staff = {one.id: one for one in await merchants.list_staff_members(tx, holders)}
        return [_member(one, staff.get(merchants.StaffId(one.holder_id))) if one else None for one in sessions]

    async def sign_in(
        self, tx: Tx, request: Request[Any, Any, Any], holder_id: Any, *, how: How, wall_now: datetime, is_proven: bool
    ) -> Cookie:
        """Open a session for whoever has just proved who they are; the cookie goes out with the answer."""
        _, token = await identity.open_session(
            tx,
            self._realm,
            holder_id,
            device=device_of(request),
            address=address_of(request),
            how=how,
            wall_now=wall_now,
            is_proven=is_proven,
        )
        return self._cookie(token, _MAX_AGE)

    def forget(self, response: Response[Any]) -> None:
        """Take the cookie back."""
        response.set_cookie(self._cookie("", 0))

    def _cookie(self, value: str, max_age: int) -> Cookie:
        return Cookie(
            key=self.cookie_name,
            value=value,
            max_age=max_age,
            path="/",
            httponly=True,
            secure=self._is_secure,
            samesite="lax",
        )


def _person(session: Session, person: Person | None) -> Visitor | None:
    return None if person is None else Visitor(session=session, person=person)


def _member(session: Session, member: StaffMember | None) -> Visitor | None:
    return None if member is None or member.ended_at is not None else Visitor(session=session, member=member)


_SYSTEMS: Final = (("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
                   ("Mac OS X", "Mac"), ("CrOS", "Chromebook"), ("Linux", "Linux"))  # fmt: skip
_BROWSERS: Final = (("MicroMessenger", "WeChat"), ("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"),
                    ("Chrome", "Chrome"), ("Safari", "Safari"))  # fmt: skip


def device_of(request: Request[Any, Any, Any]) -> str:
    """What a person would call the device, as far as the browser says: "Chrome, Android"; empty where it says nothing
    that is known. Written down as it is, and told by `device_name`."""
    agent = request.headers.get("user-agent", "")
    found = [next((name for mark, name in marks if mark in agent), "") for marks in (_BROWSERS, _SYSTEMS)]
    return ", ".join(part for part in found if part)


def device_name(written: str) -> str:
    """A device as a page tells of it, in this visitor's language, from what was written down of it once."""
    return written or gettext("An unknown browser")


def address_of(request: Request[Any, Any, Any]) -> str:
    """Who sent a request: the other end of its connection, or whom a trusted proxy there names."""
    return request.client.host if request.client else ""


def ip_of(address: str) -> IPAddress | None:
    """The same for every spelling; None for what a proxy calls somebody whom it does not name."""
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def block_of(address: str) -> str:
    """What one household has of the address space: an IPv4 address, or the first 64 bits of an IPv6 one."""
    ip = ip_of(address)
    if isinstance(ip, IPv6Address):
        return str(IPv6Network((int(ip) >> 64 << 64, 64)))
    return address[:64] if ip is None else str(ip)
