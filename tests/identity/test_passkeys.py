"""Passkeys: what a real authenticator answers is taken, and nothing else."""

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID

import cbor2
import pytest

from dewpond.identity import (
    LastPasskey,
    NameInvalid,
    Passkey,
    PasskeyRefused,
    PasskeyTaken,
    PasskeyUnknown,
    PersonId,
    Realm,
    begin_proof,
    create_person,
    finish_registration,
    list_passkeys,
    remove_passkey,
    rename_passkey,
)
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from identity.authenticator import EDDSA, ES256, ES384, RS256, Authenticator, NotAllowed, from_base64url, to_base64url
from identity.signing_in import (
    MINUTE,
    NOON,
    PARTIES,
    PHONE,
    STAFF,
    answer,
    ask,
    begin,
    finish,
    keys_of,
    register,
    session_of,
)

# --- the good way -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("_case", "algorithm"), [("ES256", ES256), ("RS256", RS256), ("EdDSA", EDDSA)])
@pytest.mark.parametrize("realm", Realm)
async def test_who_registers_a_passkey_signs_in_with_it(
    database: Database, _case: str, algorithm: int, realm: Realm
) -> None:
    """Without a word about who they are."""
    device, holder = Authenticator(PARTIES[realm].origin, algorithm=algorithm), new_id()
    passkey = await register(database, device, holder, realm=realm)
    assert passkey.holder_id == holder
    assert passkey.transports == ("hybrid", "internal")
    assert passkey.name == "Chrome on Android"
    assert await keys_of(database, holder, realm) == [passkey]
    begun = await ask(database, realm=realm)
    used = await answer(database, begun, device.get(begun.options), realm=realm, at=NOON + MINUTE)
    assert (used.holder_id, used.id, used.sign_count, used.last_used_at) == (holder, passkey.id, 1, NOON + MINUTE)
    assert await keys_of(database, holder, realm) == [used]


async def test_answers_come_as_text_or_bytes(database: Database) -> None:
    device = Authenticator(PHONE.origin)
    begun = await begin(database, new_id())
    passkey = await finish(database, begun, device.create(begun.options).encode())
    begun = await ask(database)
    assert (await answer(database, begun, device.get(begun.options).encode())).id == passkey.id


async def test_a_person_is_made_with_their_passkey(database: Database) -> None:
    """The id is told to the authenticator first; who gives up half-way leaves nothing behind."""
    device, fresh = Authenticator(PHONE.origin), PersonId(new_id())
    begun = await begin(database, fresh, name="Alice")
    async with database.transaction() as tx:
        passkey = await finish_registration(
            tx,
            begun.challenge_id,
            device.create(begun.options),
            realm=Realm.PERSON,
            party=PHONE,
            session_id=None,
            device="",
            wall_now=NOON,
        )
        person = await create_person(tx, "Alice", wall_now=NOON, person_id=PersonId(passkey.holder_id))
    assert person.id == fresh
    assert device.credentials[0].holder_handle == fresh.bytes


async def test_what_is_asked_of_an_authenticator(database: Database) -> None:
    device, holder = Authenticator(PHONE.origin), new_id()
    passkey = await register(database, device, holder)
    made = json.loads((await begin(database, holder)).options)
    assert made["rp"] == {"id": "localhost", "name": "Dewpond"}
    assert made["user"] == {"id": to_base64url(holder.bytes), "name": "Alice", "displayName": "Alice"}
    assert made["attestation"] == "none"
    assert made["authenticatorSelection"] == {
        "residentKey": "required",
        "requireResidentKey": True,
        "userVerification": "required",
    }
    assert {one["alg"] for one in made["pubKeyCredParams"]} == {ES256, RS256, EDDSA}
    assert [one["id"] for one in made["excludeCredentials"]] == [to_base64url(passkey.credential_id)]
    assert made["timeout"] == 120_000
    signed = json.loads((await ask(database)).options)
    assert signed["rpId"] == "localhost"
    assert signed["userVerification"] == "required"
    assert signed["allowCredentials"] == []
    assert len(from_base64url(signed["challenge"])) == len(from_base64url(made["challenge"])) == 32
    assert (await ask(database)).options != (await ask(database)).options


async def test_a_person_has_several_passkeys_but_one_per_device(database: Database) -> None:
    phone, laptop, holder = Authenticator(PHONE.origin), Authenticator(PHONE.origin), new_id()
    first = await register(database, phone, holder)
    with pytest.raises(NotAllowed, match="InvalidStateError"):
        await register(database, phone, holder)
    second = await register(database, laptop, holder)
    assert await keys_of(database, holder) == [first, second]
    for device, passkey in ((phone, first), (laptop, second)):
        begun = await ask(database)
        assert (await answer(database, begun, device.get(begun.options))).id == passkey.id


async def test_keys_in_a_cloud_do_not_count_and_are_taken(database: Database) -> None:
    device = Authenticator(PHONE.origin, is_backed_up=True)
    passkey = await register(database, device)
    assert passkey.is_backed_up
    for _ in range(3):
        begun = await ask(database)
        assert (await answer(database, begun, device.get(begun.options))).sign_count == 0


async def test_that_a_key_was_copied_to_a_cloud_later_is_noticed(database: Database) -> None:
    device = Authenticator(PHONE.origin)
    passkey = await register(database, device)
    assert not passkey.is_backed_up
    device.is_backed_up, device.credentials[0].sign_count = True, 1
    begun = await ask(database)
    await answer(database, begun, device.get(begun.options))
    assert [one.is_backed_up for one in await keys_of(database, passkey.holder_id)] == [True]


# --- registration, wrongly --------------------------------------------------------------------------------------------

#: A point that is not on its curve.
OFF_THE_CURVE = cbor2.dumps({1: 2, 3: ES256, -1: 1, -2: b"\x01" * 32, -3: b"\x01" * 32})


@pytest.mark.parametrize(
    ("_case", "lie"),
    [
        ("another origin", {"origin": "https://evil.example"}),
        ("another port, which is the other realm's", {"origin": STAFF.origin}),
        ("https for http", {"origin": "https://localhost:8602"}),
        ("an origin with a slash", {"origin": "http://localhost:8602/"}),
        ("another site", {"rp_id": "evil.example"}),
        ("another challenge", {"challenge": b"\x00" * 32}),
        ("no challenge", {"challenge": b""}),
        ("not verified", {"is_verified": False}),
        ("not present", {"is_present": False}),
        ("framed by another site", {"is_framed": True}),
        ("an assertion's client data", {"kind": "webauthn.get"}),
        ("an algorithm we did not ask for", {"algorithm": ES384}),
        ("a key off its curve", {"public_key": OFF_THE_CURVE}),
        ("a key that is no key", {"public_key": cbor2.dumps({})}),
        ("a key that is no map", {"public_key": cbor2.dumps("key")}),
        ("an id too long", {"credential_id": b"x" * 1024}),
    ],
)
async def test_a_bad_registration_is_refused(database: Database, _case: str, lie: dict[str, Any]) -> None:
    algorithm = lie.pop("algorithm", None)
    device, holder = Authenticator(PHONE.origin), new_id()
    begun = await begin(database, holder)
    if algorithm is not None:
        lie["public_key"] = _key_of(algorithm)
    with pytest.raises(PasskeyRefused):
        await finish(database, begun, device.create(begun.options, **lie))
    assert await keys_of(database, holder) == []
    honest = await finish(database, begun, Authenticator(PHONE.origin).create(begun.options))
    assert await keys_of(database, holder) == [honest]


def _key_of(algorithm: int) -> bytes:
    stranger = Authenticator(PHONE.origin, algorithm=algorithm)
    options = {"rp": {"id": "localhost"}, "user": {"id": ""}, "challenge": "", "excludeCredentials": []}
    stranger.create(json.dumps(options | {"pubKeyCredParams": [{"alg": algorithm}]}))
    return stranger.credentials[0].public_key


@pytest.mark.parametrize("again", ["the same holder", "another holder", "another realm"])
async def test_a_credential_belongs_to_one_holder(database: Database, again: str) -> None:
    device, holder = Authenticator(PHONE.origin), new_id()
    passkey = await register(database, device, holder)
    realm = Realm.STAFF if again == "another realm" else Realm.PERSON
    begun = await begin(database, holder if again == "the same holder" else new_id(), realm=realm)
    device.origin = PARTIES[realm].origin
    response = device.create(begun.options, credential_id=passkey.credential_id, ignores_exclusions=True)
    with pytest.raises(PasskeyTaken):
        await finish(database, begun, response, realm=realm)
    assert await keys_of(database, holder) == [passkey]


async def test_a_credential_claimed_at_once_gets_one_holder(database: Database, elsewhere: Database) -> None:
    credential_id, holders = secrets.token_bytes(32), [new_id() for _ in range(20)]

    async def claim(pool: Database, holder: UUID) -> Passkey | Failure:
        begun = await begin(pool, holder)
        try:
            return await finish(
                pool, begun, Authenticator(PHONE.origin).create(begun.options, credential_id=credential_id)
            )
        except PasskeyTaken as refusal:
            return refusal

    outcomes = await asyncio.gather(*(claim((database, elsewhere)[n % 2], one) for n, one in enumerate(holders)))
    assert sum(isinstance(one, Passkey) for one in outcomes) == 1
    assert sum([len(await keys_of(database, one)) for one in holders]) == 1


# --- sign-in, wrongly -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "lie"),
    [
        ("another origin", {"origin": "https://evil.example"}),
        ("the other realm's port", {"origin": STAFF.origin}),
        ("an origin that only begins like ours", {"origin": "http://localhost:86020"}),
        ("another site", {"rp_id": "evil.example"}),
        ("another challenge", {"challenge": b"\x00" * 32}),
        ("not verified", {"is_verified": False}),
        ("not present", {"is_present": False}),
        ("framed by another site", {"is_framed": True}),
        ("a registration's client data", {"kind": "webauthn.create"}),
        ("another holder's handle", {"holder_handle": b"\x07" * 16}),
        ("no handle", {"forgets_holder": True}),
        ("a signature of nothing", {"signature": b""}),
        ("a signature of something else", {"signature": b"\x30\x06\x02\x01\x01\x02\x01\x01"}),
        ("the count it had", {"sign_count": 5}),
        ("an older count", {"sign_count": 4}),
        ("no count any more", {"sign_count": 0}),
    ],
)
async def test_a_bad_sign_in_is_refused(database: Database, _case: str, lie: dict[str, Any]) -> None:
    """And all of them in the same words, which are those for a credential that does not exist."""
    device = Authenticator(PHONE.origin)
    passkey = await register(database, device)
    device.credentials[0].sign_count = 4
    begun = await ask(database)
    assert (await answer(database, begun, device.get(begun.options))).sign_count == 5
    begun = await ask(database)
    with pytest.raises(PasskeyRefused) as refused:
        await answer(database, begun, device.get(begun.options, **lie))
    assert refused.value.facts == {}
    assert [(one.id, one.sign_count) for one in await keys_of(database, passkey.holder_id)] == [(passkey.id, 5)]
    device.credentials[0].sign_count = 5
    assert (await answer(database, begun, device.get(begun.options))).id == passkey.id


async def test_a_credential_that_nobody_registered_is_refused_like_any_other(database: Database) -> None:
    known, unknown = Authenticator(PHONE.origin), Authenticator(PHONE.origin)
    await register(database, known)
    unknown.create((await begin(database, new_id())).options)
    refusals = []
    for device in (known, unknown):
        begun = await ask(database)
        with pytest.raises(PasskeyRefused) as refused:
            await answer(database, begun, device.get(begun.options, signature=b"\x30\x06\x02\x01\x01\x02\x01\x01"))
        refusals.append((str(refused.value), refused.value.facts, str(refused.value.__cause__)))
    assert refusals[0] == refusals[1]
    begun = await ask(database)
    with pytest.raises(PasskeyRefused):
        await answer(database, begun, unknown.get(begun.options))


async def test_another_key_under_a_known_credential_is_refused(database: Database) -> None:
    device, thief = Authenticator(PHONE.origin), Authenticator(PHONE.origin)
    passkey = await register(database, device)
    thief.create((await begin(database, passkey.holder_id)).options, credential_id=passkey.credential_id)
    begun = await ask(database)
    with pytest.raises(PasskeyRefused):
        await answer(database, begun, thief.get(begun.options))


@pytest.mark.parametrize(("mine", "other"), [(Realm.PERSON, Realm.STAFF), (Realm.STAFF, Realm.PERSON)])
async def test_a_passkey_is_worth_nothing_in_the_other_realm(database: Database, mine: Realm, other: Realm) -> None:
    """Both sites are `localhost` to an authenticator, so it offers the key at either."""
    device = Authenticator(PARTIES[mine].origin)
    passkey = await register(database, device, realm=mine)
    device.origin = PARTIES[other].origin
    begun = await ask(database, realm=other)
    with pytest.raises(PasskeyRefused):
        await answer(database, begun, device.get(begun.options), realm=other)
    session = await session_of(database, passkey.holder_id, realm=other)
    async with database.transaction() as tx:
        assert await list_passkeys(tx, other, passkey.holder_id) == []
        with pytest.raises(PasskeyUnknown):
            await begin_proof(tx, session, party=PARTIES[other], wall_now=NOON)


ANSWERS: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
    ("nothing", lambda told: ""),
    ("no JSON", lambda told: "{"),
    ("not UTF-8", lambda told: b"\xff\xfe"),
    ("a list", lambda told: []),
    ("a number", lambda told: 7),
    ("no id", lambda told: told | {"id": None}),
    ("another id than the raw one", lambda told: told | {"id": "AAAA"}),
    ("another type", lambda told: told | {"type": "password"}),
    ("no response", lambda told: told | {"response": None}),
    ("an empty response", lambda told: told | {"response": {}}),
    ("too long", lambda told: told | {"more": "x" * 40_000}),
    ("deep", lambda told: "[" * 20_000),
    ("half a character", lambda told: json.dumps(told | {"id": "\ud800"})),
    ("a null in the id", lambda told: told | {"id": "\0", "rawId": "\0"}),
    ("no base64", lambda told: told | {"response": dict.fromkeys(told["response"], "!")}),
    ("numbers for text", lambda told: told | {"response": dict.fromkeys(told["response"], 7)}),
    ("client data of no JSON", lambda told: _with(told, "clientDataJSON", b"{")),
    ("client data of a list", lambda told: _with(told, "clientDataJSON", b"[]")),
    ("client data of numbers", lambda told: _with(told, "clientDataJSON", b'{"type":1,"challenge":2,"origin":3}')),
    ("deep client data", lambda told: _with(told, "clientDataJSON", b"[" * 15_000)),
]


def _with(told: dict[str, Any], name: str, value: bytes) -> dict[str, Any]:
    return told | {"response": told["response"] | {name: to_base64url(value)}}


@pytest.mark.parametrize(
    ("_case", "bend"),
    [
        *ANSWERS,
        ("no authenticator data", lambda told: _with(told, "authenticatorData", b"")),
        ("cut authenticator data", lambda told: _with(told, "authenticatorData", b"\x01" * 36)),
        ("more authenticator data", lambda told: _with(told, "authenticatorData", b"\x01" * 200)),
    ],
)
async def test_a_garbled_sign_in_is_refused(
    database: Database, _case: str, bend: Callable[[dict[str, Any]], Any]
) -> None:
    device = Authenticator(PHONE.origin)
    await register(database, device)
    begun = await ask(database)
    bent = bend(json.loads(device.get(begun.options)))
    with pytest.raises(PasskeyRefused):
        await answer(database, begun, bent if isinstance(bent, str | bytes) else json.dumps(bent))


@pytest.mark.parametrize(
    ("_case", "bend"),
    [
        *ANSWERS,
        ("no attestation", lambda told: _with(told, "attestationObject", b"")),
        ("attestation of a list", lambda told: _with(told, "attestationObject", cbor2.dumps([]))),
        ("attestation of nothing", lambda told: _with(told, "attestationObject", cbor2.dumps({}))),
        (
            "a format nobody knows",
            lambda told: _with(
                told, "attestationObject", cbor2.dumps({"fmt": "new", "attStmt": {}, "authData": bytes(37)})
            ),
        ),
        (
            "a statement where there is none",
            lambda told: _with(
                told, "attestationObject", cbor2.dumps({"fmt": "tpm", "attStmt": {"x5c": [b"x"]}, "authData": 3})
            ),
        ),
        ("another raw id than the attested", lambda told: told | {"id": "AAAA", "rawId": "AAAA"}),
    ],
)
async def test_a_garbled_registration_is_refused(
    database: Database, _case: str, bend: Callable[[dict[str, Any]], Any]
) -> None:
    holder = new_id()
    begun = await begin(database, holder)
    bent = bend(json.loads(Authenticator(PHONE.origin).create(begun.options)))
    with pytest.raises(PasskeyRefused):
        await finish(database, begun, bent if isinstance(bent, str | bytes) else json.dumps(bent))
    assert await keys_of(database, holder) == []


async def test_no_byte_of_an_answer_can_be_another(database: Database) -> None:
    """Each turned once: in what was signed, in the signature, in whose it is."""
    device = Authenticator(PHONE.origin, is_backed_up=True)
    await register(database, device)
    begun = await ask(database)
    told = json.loads(device.get(begun.options))
    for name in ("clientDataJSON", "authenticatorData", "signature", "userHandle"):
        honest = from_base64url(told["response"][name])
        for place in range(0, len(honest), 7):
            bent = honest[:place] + bytes([honest[place] ^ 0x20]) + honest[place + 1 :]
            with pytest.raises(PasskeyRefused):
                await answer(database, begun, json.dumps(_with(told, name, bent)))
    await answer(database, begun, json.dumps(told))


# --- the list ---------------------------------------------------------------------------------------------------------


async def test_a_passkey_is_called_what_its_holder_calls_it(database: Database) -> None:
    passkey = await register(database, Authenticator(PHONE.origin))
    async with database.transaction() as tx:
        await rename_passkey(tx, Realm.PERSON, passkey.holder_id, passkey.id, "  我的手机 ")
    assert [one.name for one in await keys_of(database, passkey.holder_id)] == ["我的手机"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 65, "a\nb", "a\0b"])
async def test_a_passkey_has_a_name_that_shows(database: Database, name: str) -> None:
    passkey = await register(database, Authenticator(PHONE.origin))
    with pytest.raises(NameInvalid):
        async with database.transaction() as tx:
            await rename_passkey(tx, Realm.PERSON, passkey.holder_id, passkey.id, name)


@pytest.mark.parametrize("_case", ["another holder", "another realm", "no such passkey"])
async def test_nobody_changes_a_passkey_that_is_not_theirs(database: Database, _case: str) -> None:
    holder = new_id()
    passkeys = [await register(database, Authenticator(PHONE.origin), holder) for _ in range(2)]
    realm, other, passkey_id = {
        "another holder": (Realm.PERSON, new_id(), passkeys[0].id),
        "another realm": (Realm.STAFF, holder, passkeys[0].id),
        "no such passkey": (Realm.PERSON, holder, new_id()),
    }[_case]
    async with database.transaction() as tx:
        with pytest.raises(PasskeyUnknown):
            await rename_passkey(tx, realm, other, passkey_id, "mine")
        with pytest.raises(PasskeyUnknown):
            await remove_passkey(tx, realm, other, passkey_id, has_other_way=True)
    assert await keys_of(database, holder) == passkeys


async def test_a_removed_passkey_signs_nobody_in(database: Database) -> None:
    lost, kept, holder = Authenticator(PHONE.origin), Authenticator(PHONE.origin), new_id()
    gone, stays = await register(database, lost, holder), await register(database, kept, holder)
    async with database.transaction() as tx:
        await remove_passkey(tx, Realm.PERSON, holder, gone.id)
    assert await keys_of(database, holder) == [stays]
    begun = await ask(database)
    with pytest.raises(PasskeyRefused):
        await answer(database, begun, lost.get(begun.options))
    again = await begin(database, holder)
    back = await finish(database, again, lost.create(again.options, credential_id=gone.credential_id))
    assert await keys_of(database, holder) == [stays, back]


async def test_the_last_way_in_stays(database: Database) -> None:
    passkey = await register(database, Authenticator(PHONE.origin))
    with pytest.raises(LastPasskey):
        async with database.transaction() as tx:
            await remove_passkey(tx, Realm.PERSON, passkey.holder_id, passkey.id)
    assert await keys_of(database, passkey.holder_id) == [passkey]
    async with database.transaction() as tx:
        await remove_passkey(tx, Realm.PERSON, passkey.holder_id, passkey.id, has_other_way=True)
    assert await keys_of(database, passkey.holder_id) == []


async def test_the_last_two_removed_at_once_leave_one(database: Database, elsewhere: Database) -> None:
    for _ in range(10):
        holder = new_id()
        passkeys = [await register(database, Authenticator(PHONE.origin), holder) for _ in range(2)]

        async def remove(pool: Database, passkey: Passkey) -> bool:
            try:
                async with pool.transaction() as tx:
                    await remove_passkey(tx, Realm.PERSON, passkey.holder_id, passkey.id)
            except LastPasskey:
                return False
            return True

        removed = await asyncio.gather(remove(database, passkeys[0]), remove(elsewhere, passkeys[1]))
        assert sorted(removed) == [False, True]
        assert len(await keys_of(database, holder)) == 1
