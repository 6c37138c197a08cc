"""A child that pays over HTTP: phones of people who are signed in, reduced to the bytes they send when somebody taps.

Sessions, payments and requests are made beforehand. Each connection carries one tap after another, of other people.
"""

import os
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import cycle
from typing import Any

import msgspec

from bench import lines
from bench.child import serve
from bench.folder import folding
from bench.openings import App, list_apps, open_payments
from bench.people import PIN
from dewpond import identity, ledger, pay
from dewpond.identity import How, PersonId, Realm
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import from_text
from dewpond.pay import Limits

_PEOPLE = "select owner_id from ledger.accounts where code = 'wallet' order by random() limit $1"
_SUCCEEDED = "select count(*) from pay.payments where status = 'succeeded'"
_AT_ONCE = 1_000
_FIRST_GUESS = 2_500  # taps a second, until a run has shown better
_PAID = b'"status":"succeeded"'
#: So much each of those who pay small sums lets be paid without a PIN, five times a day.
_SMALL_MINOR = 10**6
#: Most who tap have been signed in for longer than a device is new.
_KNOWN_FOR = 2 * pay.NEW_DEVICE


class Phones:
    """Everybody's phones."""

    def __init__(self) -> None:
        self._db: Database | None = None
        self._apps: list[App] = []
        self._port = 0
        #: Session tokens by what is given for a proof, "pin" or "small". One after the other: nobody taps on two codes
        #: at once.
        self._tokens: dict[str, Iterator[str]] = {}
        #: Requests that wait to be sent, and how many a second were, by the kind of run.
        self._taps: defaultdict[str, deque[bytes]] = defaultdict(deque)
        self._guess: dict[str, float] = {}
        self._acknowledged = 0
        self._acks: list[tuple[float, bytes]] = []

    @property
    def db(self) -> Database:
        assert self._db is not None
        return self._db

    async def open(self) -> dict[str, Any]:
        """Connect, and learn who can be paid."""
        self._db = await Database.open(os.environ["DEWPOND_DATABASE_URL"], size=4, name="bench phones")
        self._apps = await list_apps(self.db)
        return {}

    async def sign_in(self, people: int, port: int) -> dict[str, Any]:
        """Sign so many in, each on one phone; half of them let small sums be paid without a PIN."""
        self._port = port
        async with self.db.transaction() as tx:
            drawn: list[PersonId] = [row[0] for row in await tx.connection.fetch(_PEOPLE, people)]
        self._tokens = {
            "pin": cycle(await self._sessions(drawn[::2])),
            "small": cycle(await self._sessions(drawn[1::2])),
        }
        for at in range(0, len(drawn), _AT_ONCE):
            async with self.db.transaction() as tx:
                now = await worlds.read_clocks(tx)
                for person_id in drawn[at : at + _AT_ONCE][1::2]:
                    limits = Limits(person_id=person_id, without_pin_minor=_SMALL_MINOR)
                    await pay.set_limits(tx, limits, now=now)
        return {}

    async def _sessions(self, people: list[PersonId]) -> list[str]:
        tokens: list[str] = []
        for at in range(0, len(people), _AT_ONCE):
            async with self.db.transaction() as tx:
                wall = clock.wall_now()
                for person_id in people[at : at + _AT_ONCE]:
                    session, token = await identity.open_session(
                        tx,
                        Realm.PERSON,
                        person_id,
                        device="Chrome, Android",
                        address="127.0.0.1",
                        how=How.PASSKEY,
                        wall_now=wall - _KNOWN_FOR,
                        is_proven=True,
                    )
                    await identity.touch_sessions(tx, [session], wall)
                    tokens.append(token)
        return tokens

    async def ready(
        self, proof: str, seconds: float, connections: int, a_second: float | None = None, shops: int | None = None
    ) -> dict[str, Any]:
        """Have enough taps for a run, with some to spare; on codes of the first so many shops, or of all."""
        wanted = int((a_second or self._guess.get(f"{proof} {connections}", _FIRST_GUESS)) * seconds * 1.3) + 500
        taps = self._taps[f"{proof} {shops}"]
        for _, opened in await open_payments(self.db, self._apps[:shops], max(0, wanted - len(taps))):
            taps.append(self._tap(proof, opened.code, next(self._tokens[proof])))
        return {}

    def _tap(self, proof: str, code: str, token: str) -> bytes:
        body = f"pin={PIN}" if proof == "pin" else ""
        origin = f"http://localhost:{self._port}"
        return (
            f"POST /q/{code}/confirmation HTTP/1.1\r\nHost: localhost:{self._port}\r\nConnection: keep-alive\r\n"
            f"Content-Length: {len(body)}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            "User-Agent: Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 "
            "Mobile Safari/537.36\r\n"
            f"Accept: application/json\r\nOrigin: {origin}\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n"
            f"Sec-Fetch-Dest: empty\r\nReferer: {origin}/q/{code}\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
            f"Accept-Language: zh-CN,zh;q=0.9,en;q=0.8\r\nCookie: dewpond-person={token}\r\n\r\n{body}"
        ).encode()

    async def call(
        self,
        proof: str,
        seconds: float,
        connections: int,
        a_second: float | None = None,
        shops: int | None = None,
        folder: bool = True,
    ) -> dict[str, Any]:
        """Tap on so many phones at once, as soon as the last is paid or so many a second.

        Without a `folder` here a worker folds, and it can be asked later when each payment was acknowledged.
        """
        self._acks.clear()

        def heard(at: float, body: bytes) -> None:
            if _PAID not in body:
                raise ValueError(f"not paid: {body[:500]!r}")
            self._acknowledged += 1
            if not folder:
                self._acks.append((at, body))

        taps = self._taps[f"{proof} {shops}"]
        async with folding(self.db) if folder else nullcontext():
            told = await lines.call(self._port, taps, seconds, connections, a_second=a_second, heard=heard)
        if a_second is None:
            self._guess[f"{proof} {connections}"] = told["operations"] / told["seconds"]
        return told

    async def acknowledged(self) -> dict[str, Any]:
        """When each payment of the last call was acknowledged, by this machine's monotonic clock."""
        payments = [(msgspec.json.decode(body)["payment"], at) for at, body in self._acks]
        return {"acks": {str(from_text("pay", payment)): at for payment, at in payments}}

    async def check(self) -> dict[str, Any]:
        """That every payment that was acknowledged has succeeded and no other, and that the books are at zero."""
        async with self.db.transaction() as tx:
            succeeded = await tx.connection.fetchval(_SUCCEEDED)
            totals = await ledger.sum_codes(tx)
        if succeeded != self._acknowledged:
            raise ValueError(f"{self._acknowledged} payments were acknowledged, {succeeded} have succeeded")
        if any(sum(one.posted for one in totals if one.currency == each.currency) for each in totals):
            raise ValueError(f"the books are not at zero: {totals}")
        return {}

    async def leave(self) -> dict[str, Any]:
        """Disconnect."""
        await self.db.close()
        return {}


if __name__ == "__main__":
    phones = Phones()
    serve(
        {
            "open": phones.open,
            "sign_in": phones.sign_in,
            "ready": phones.ready,
            "call": phones.call,
            "acknowledged": phones.acknowledged,
            "check": phones.check,
            "leave": phones.leave,
        }
    )
