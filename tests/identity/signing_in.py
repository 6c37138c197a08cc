"""Two sites, and the ways of signing in at them: each verb in a transaction of its own, as a request has it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from dewpond.identity import (
    Begun,
    How,
    Passkey,
    Realm,
    RelyingParty,
    Session,
    begin_registration,
    begin_sign_in,
    finish_registration,
    finish_sign_in,
    list_passkeys,
    open_session,
)
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from identity.authenticator import Authenticator

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PHONE = RelyingParty(id="localhost", name="Dewpond", origin="http://localhost:8602")
STAFF = RelyingParty(id="localhost", name="Dewpond staff", origin="http://localhost:8603")
PARTIES = {Realm.PERSON: PHONE, Realm.STAFF: STAFF}


async def begin(
    database: Database,
    holder: UUID,
    *,
    realm: Realm = Realm.PERSON,
    session: Session | None = None,
    at: datetime = NOON,
    name: str = "Alice",
) -> Begun:
    async with database.transaction() as tx:
        return await begin_registration(
            tx,
            realm,
            holder,
            holder_name=name,
            party=PARTIES[realm],
            session_id=session.id if session else None,
            wall_now=at,
        )


async def finish(
    database: Database,
    begun: Begun,
    response: bytes | str,
    *,
    realm: Realm = Realm.PERSON,
    session_id: UUID | None = None,
    at: datetime = NOON,
) -> Passkey:
    async with database.transaction() as tx:
        return await finish_registration(
            tx,
            begun.challenge_id,
            response,
            realm=realm,
            party=PARTIES[realm],
            session_id=session_id,
            device="Chrome on Android",
            wall_now=at,
        )


async def register(
    database: Database, device: Authenticator, holder: UUID | None = None, *, realm: Realm = Realm.PERSON
) -> Passkey:
    begun = await begin(database, holder or new_id(), realm=realm)
    return await finish(database, begun, device.create(begun.options), realm=realm)


async def ask(database: Database, *, realm: Realm = Realm.PERSON, at: datetime = NOON) -> Begun:
    async with database.transaction() as tx:
        return await begin_sign_in(tx, realm, party=PARTIES[realm], wall_now=at)


async def answer(
    database: Database,
    begun: Begun,
    response: bytes | str,
    *,
    realm: Realm = Realm.PERSON,
    party: RelyingParty | None = None,
    at: datetime = NOON,
) -> Passkey:
    async with database.transaction() as tx:
        return await finish_sign_in(
            tx, begun.challenge_id, response, realm=realm, party=party or PARTIES[realm], wall_now=at
        )


async def session_of(database: Database, holder: UUID, *, realm: Realm = Realm.PERSON) -> Session:
    async with database.transaction() as tx:
        session, _ = await open_session(tx, realm, holder, device="", address="", how=How.ONE_TAP, wall_now=NOON)
    return session


async def keys_of(database: Database, holder: UUID, realm: Realm = Realm.PERSON) -> list[Passkey]:
    async with database.transaction() as tx:
        return await list_passkeys(tx, realm, holder)
