"""Challenges: a question is answered once, in time, by whom it was asked, and for what it was asked."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dewpond.identity import (
    Begun,
    BoundConfirmation,
    ChallengeSpent,
    PasskeyRefused,
    PasskeyUnknown,
    PersonId,
    Realm,
    Session,
    SessionEnded,
    begin_confirmation,
    begin_proof,
    consume_confirmations,
    end_session,
    finish_proof,
    forget_expired,
    verify_confirmation,
)
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from identity.authenticator import Authenticator, from_base64url, to_base64url
from identity.signing_in import (
    MINUTE,
    NOON,
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

TEA = UUID("01963f00-0000-7000-8000-000000000001")
SUM = Money(1800, CNY)


async def prove(database: Database, session: Session, begun: Begun, response: str) -> Session:
    async with database.transaction() as tx:
        return await finish_proof(tx, session, begun.challenge_id, response, party=PHONE, wall_now=NOON)


async def ask_proof(database: Database, session: Session) -> Begun:
    async with database.transaction() as tx:
        return await begin_proof(tx, session, party=PHONE, wall_now=NOON)


async def ask_payment(
    database: Database, session: Session, payment_id: UUID | None = None, *, amount: Money = SUM, at: datetime = NOON
) -> Begun:
    async with database.transaction() as tx:
        return await begin_confirmation(
            tx,
            session,
            party=PHONE,
            merchant_id=TEA,
            payment_id=payment_id or new_id(),
            amount=amount,
            wall_now=at,
        )


async def confirm(database: Database, session: Session, begun: Begun, response: str, *, at: datetime = NOON) -> UUID:
    async with database.transaction() as tx:
        return await verify_confirmation(tx, session, begun.challenge_id, response, party=PHONE, wall_now=at)


async def consume(database: Database, *challenge_ids: UUID, at: datetime = NOON) -> dict[UUID, BoundConfirmation]:
    async with database.transaction() as tx:
        return await consume_confirmations(tx, challenge_ids, wall_now=at)


async def signed_yes(database: Database, session: Session, device: Authenticator) -> UUID:
    begun = await ask_payment(database, session)
    return await confirm(database, session, begun, device.get(begun.options))


async def person_with_phone(database: Database) -> tuple[Session, Authenticator]:
    device = Authenticator(PHONE.origin)
    passkey = await register(database, device)
    return await session_of(database, passkey.holder_id), device


def _challenge(begun: Begun) -> str:
    return str(json.loads(begun.options)["challenge"])


# --- every question ---------------------------------------------------------------------------------------------------


async def test_an_answer_signs_in_once(database: Database) -> None:
    device = Authenticator(PHONE.origin, is_backed_up=True)
    await register(database, device)
    begun = await ask(database)
    response = device.get(begun.options)
    await answer(database, begun, response)
    for _ in range(2):
        with pytest.raises(ChallengeSpent):
            await answer(database, begun, response)


@pytest.mark.parametrize(
    ("_case", "after", "is_open"),
    [
        ("at once", timedelta(0), True),
        ("in the last moment", 2 * MINUTE - timedelta(microseconds=1), True),
        ("two minutes later", 2 * MINUTE, False),
        ("a day later", timedelta(days=1), False),
    ],
)
async def test_a_question_stands_for_two_minutes(
    database: Database, _case: str, after: timedelta, is_open: bool
) -> None:
    device = Authenticator(PHONE.origin)
    await register(database, device)
    begun = await ask(database)
    response = device.get(begun.options)
    if is_open:
        await answer(database, begun, response, at=NOON + after)
    else:
        with pytest.raises(ChallengeSpent):
            await answer(database, begun, response, at=NOON + after)


@pytest.mark.parametrize(
    "_case",
    [
        "a sign-in nobody asked for",
        "a sign-in to the other realm",
        "a sign-in by a registration's question",
        "a sign-in by a proof's question",
        "a sign-in by a confirmation's question",
        "a registration by a sign-in's question",
        "a registration outside of its session",
        "a proof by a sign-in's question",
        "a proof by a confirmation's question",
        "a confirmation by a proof's question",
    ],
)
async def test_a_question_is_good_for_its_own_purpose(database: Database, _case: str) -> None:
    """The signature is right each time: over the very challenge, at the very origin."""
    device = Authenticator(PHONE.origin, is_backed_up=True)
    passkey = await register(database, device)
    session = await session_of(database, passkey.holder_id)
    sign_in, registration = await ask(database), await begin(database, passkey.holder_id)
    in_session = await begin(database, passkey.holder_id, session=session)
    proof, payment = await ask_proof(database, session), await ask_payment(database, session)
    unknown = Begun(challenge_id=new_id(), options=sign_in.options)
    borrowed = from_base64url(json.loads(registration.options)["challenge"])
    fresh = Authenticator(PHONE.origin)
    misuses: dict[str, Callable[[], Awaitable[Any]]] = {
        "a sign-in nobody asked for": lambda: answer(database, unknown, device.get(sign_in.options)),
        "a sign-in to the other realm": lambda: answer(
            database, sign_in, device.get(sign_in.options), realm=Realm.STAFF, party=PHONE
        ),
        "a sign-in by a registration's question": lambda: answer(
            database, registration, device.get(sign_in.options, challenge=borrowed)
        ),
        "a sign-in by a proof's question": lambda: answer(database, proof, device.get(proof.options)),
        "a sign-in by a confirmation's question": lambda: answer(database, payment, device.get(payment.options)),
        "a registration by a sign-in's question": lambda: finish(
            database, sign_in, fresh.create(registration.options, challenge=from_base64url(_challenge(sign_in)))
        ),
        "a registration outside of its session": lambda: finish(database, in_session, fresh.create(in_session.options)),
        "a proof by a sign-in's question": lambda: prove(database, session, sign_in, device.get(sign_in.options)),
        "a proof by a confirmation's question": lambda: prove(database, session, payment, device.get(payment.options)),
        "a confirmation by a proof's question": lambda: confirm(database, session, proof, device.get(proof.options)),
    }
    with pytest.raises(ChallengeSpent):
        await misuses[_case]()
    assert await keys_of(database, passkey.holder_id) == [passkey]


async def test_a_registration_in_a_session_is_answered_from_it(database: Database) -> None:
    holder = new_id()
    mine, other = await session_of(database, holder), await session_of(database, holder)
    begun = await begin(database, holder, session=mine)
    response = Authenticator(PHONE.origin).create(begun.options)
    for session_id in (None, other.id):
        with pytest.raises(ChallengeSpent):
            await finish(database, begun, response, session_id=session_id)
    passkey = await finish(database, begun, response, session_id=mine.id)
    assert passkey.holder_id == holder


async def test_of_a_hundred_redemptions_of_one_answer_one_signs_in(database: Database, elsewhere: Database) -> None:
    device = Authenticator(PHONE.origin, is_backed_up=True)
    await register(database, device)
    begun = await ask(database)
    response = device.get(begun.options)

    async def redeem(pool: Database) -> str:
        try:
            await answer(pool, begun, response)
        except Failure as refusal:
            return refusal.code
        return "in"

    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*(redeem((database, elsewhere)[n % 2]) for n in range(100)))
    assert sorted(outcomes) == ["challenge_spent"] * 99 + ["in"]


async def test_two_answers_with_one_count_cannot_both_be_the_first(database: Database, elsewhere: Database) -> None:
    """A copied authenticator beside the real one, each with a question of its own."""
    device = Authenticator(PHONE.origin)
    passkey = await register(database, device)
    questions = [await ask(database) for _ in range(20)]

    async def redeem(pool: Database, begun: Begun) -> bool:
        try:
            await answer(pool, begun, device.get(begun.options, sign_count=1))
        except PasskeyRefused:
            return False
        return True

    outcomes = await asyncio.gather(*(redeem((database, elsewhere)[n % 2], one) for n, one in enumerate(questions)))
    assert sum(outcomes) == 1
    assert [one.sign_count for one in await keys_of(database, passkey.holder_id)] == [1]


async def test_questions_nobody_answered_are_forgotten(database: Database) -> None:
    begun, later = await ask(database), await ask(database, at=NOON + MINUTE)
    async with database.transaction() as tx:
        await forget_expired(tx, wall_now=NOON + 2 * MINUTE, most=10_000)
        left = {row["id"] for row in await tx.connection.fetch("select id from identity.challenges")}
    assert begun.challenge_id not in left
    assert later.challenge_id in left


# --- proof in a session -----------------------------------------------------------------------------------------------


async def test_who_proves_makes_the_session_fresh(database: Database) -> None:
    device = Authenticator(PHONE.origin)
    passkey = await register(database, device)
    session = await session_of(database, passkey.holder_id)
    assert not session.is_fresh(NOON)
    begun = await ask_proof(database, session)
    allowed = json.loads(begun.options)["allowCredentials"]
    assert [one["id"] for one in allowed] == [to_base64url(passkey.credential_id)]
    assert (await prove(database, session, begun, device.get(begun.options))).is_fresh(NOON)
    begun = await ask_proof(database, session)
    assert await prove(database, session, begun, device.get(begun.options, forgets_holder=True))


async def test_a_proof_is_not_made_by_somebody_else(database: Database) -> None:
    """Not with a stranger's passkey, not in another session of one's own."""
    alices, mallorys = Authenticator(PHONE.origin, is_backed_up=True), Authenticator(PHONE.origin)
    alice, mallory = await register(database, alices), await register(database, mallorys)
    session, other = await session_of(database, alice.holder_id), await session_of(database, alice.holder_id)
    theirs = await session_of(database, mallory.holder_id)
    begun = await ask_proof(database, session)
    with pytest.raises(PasskeyRefused):
        await prove(database, session, begun, mallorys.get(begun.options, credential=mallorys.credentials[0]))
    for elsewhere in (other, theirs):
        with pytest.raises(ChallengeSpent):
            await prove(database, elsewhere, begun, alices.get(begun.options))
    assert (await prove(database, session, begun, alices.get(begun.options))).is_fresh(NOON)


async def test_a_proof_in_a_session_that_has_ended_proves_nothing(database: Database) -> None:
    device = Authenticator(PHONE.origin)
    passkey = await register(database, device)
    session = await session_of(database, passkey.holder_id)
    begun = await ask_proof(database, session)
    async with database.transaction() as tx:
        await end_session(tx, Realm.PERSON, session.holder_id, session.id, wall_now=NOON)
    with pytest.raises(SessionEnded):
        await prove(database, session, begun, device.get(begun.options))


async def test_who_has_no_passkey_cannot_prove_by_one(database: Database) -> None:
    session = await session_of(database, new_id())
    with pytest.raises(PasskeyUnknown):
        await ask_proof(database, session)


# --- a yes to one payment ---------------------------------------------------------------------------------------------


async def test_a_yes_is_bound_to_what_was_shown(database: Database) -> None:
    session, device = await person_with_phone(database)
    payment_id = new_id()
    begun = await ask_payment(database, session, payment_id, amount=Money(1800, CNY))
    challenge_id = await confirm(database, session, begun, device.get(begun.options))
    assert challenge_id == begun.challenge_id
    assert await consume(database, challenge_id) == {
        challenge_id: BoundConfirmation(
            id=challenge_id,
            holder_id=PersonId(session.holder_id),
            session_id=session.id,
            merchant_id=TEA,
            payment_id=payment_id,
            minor=1800,
            currency=CNY,
        )
    }
    assert device.credentials[0].sign_count == (await keys_of(database, session.holder_id))[0].sign_count == 1


async def test_a_yes_is_consumed_once(database: Database) -> None:
    session, device = await person_with_phone(database)
    yes = await signed_yes(database, session, device)
    assert list(await consume(database, yes, yes)) == [yes]
    assert await consume(database, yes) == {}


async def test_a_payment_that_is_rolled_back_leaves_the_yes(database: Database) -> None:
    session, device = await person_with_phone(database)
    yes = await signed_yes(database, session, device)
    try:
        async with database.transaction() as tx:
            assert yes in await consume_confirmations(tx, [yes], wall_now=NOON)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert list(await consume(database, yes)) == [yes]


async def test_without_a_right_signature_there_is_nothing_to_consume(database: Database) -> None:
    session, device = await person_with_phone(database)
    begun = await ask_payment(database, session)
    assert await consume(database, begun.challenge_id) == {}
    with pytest.raises(PasskeyRefused):
        await confirm(database, session, begun, device.get(begun.options, signature=b"wrong"))
    assert await consume(database, begun.challenge_id) == {}
    yes = await confirm(database, session, begun, device.get(begun.options))
    assert list(await consume(database, yes)) == [yes]


@pytest.mark.parametrize(
    ("_case", "lie"),
    [
        ("not verified", {"is_verified": False}),
        ("another origin", {"origin": "https://evil.example"}),
        ("the staff's origin", {"origin": STAFF.origin}),
        ("another site", {"rp_id": "evil.example"}),
        ("framed by another site", {"is_framed": True}),
        ("another challenge", {"challenge": b"\x00" * 32}),
        ("an older count", {"sign_count": 1}),
    ],
)
async def test_a_bad_yes_is_refused(database: Database, _case: str, lie: dict[str, Any]) -> None:
    session, device = await person_with_phone(database)
    await signed_yes(database, session, device)
    begun = await ask_payment(database, session)
    with pytest.raises(PasskeyRefused):
        await confirm(database, session, begun, device.get(begun.options, **lie))
    assert await consume(database, begun.challenge_id) == {}


async def test_a_signature_for_one_payment_is_none_for_another(database: Database) -> None:
    session, device = await person_with_phone(database)
    tea, diamonds = await ask_payment(database, session), await ask_payment(database, session, amount=Money(10**9, CNY))
    with pytest.raises(PasskeyRefused):
        await confirm(database, session, diamonds, device.get(tea.options))
    assert await consume(database, tea.challenge_id, diamonds.challenge_id) == {}


async def test_a_yes_is_said_where_it_was_asked(database: Database) -> None:
    """Not in another session of the same person, not by another person with a passkey of their own."""
    session, device = await person_with_phone(database)
    other = await session_of(database, session.holder_id)
    mallorys, mallory = await person_with_phone(database)
    begun = await ask_payment(database, session)
    for elsewhere, key in ((other, device), (mallorys, device), (mallorys, mallory)):
        with pytest.raises(ChallengeSpent):
            await confirm(database, elsewhere, begun, key.get(begun.options, credential=key.credentials[0]))
    with pytest.raises(PasskeyRefused):
        await confirm(database, session, begun, mallory.get(begun.options, credential=mallory.credentials[0]))
    assert await confirm(database, session, begun, device.get(begun.options))


async def test_a_yes_is_said_once(database: Database) -> None:
    device = Authenticator(PHONE.origin, is_backed_up=True)  # whose count would not show that it is a copy
    passkey = await register(database, device)
    session = await session_of(database, passkey.holder_id)
    begun = await ask_payment(database, session)
    response = device.get(begun.options)
    yes = await confirm(database, session, begun, response)
    with pytest.raises(ChallengeSpent):
        await confirm(database, session, begun, response)
    assert list(await consume(database, yes)) == [yes]
    with pytest.raises(ChallengeSpent):
        await confirm(database, session, begun, response)


@pytest.mark.parametrize(
    ("_case", "said_after", "consumed_after", "is_good"),
    [
        ("in the last moment", timedelta(0), 2 * MINUTE - timedelta(microseconds=1), True),
        ("said in time, consumed too late", timedelta(0), 2 * MINUTE, False),
        ("said too late", 2 * MINUTE, 2 * MINUTE, False),
    ],
)
async def test_a_yes_stands_for_two_minutes_from_the_question(
    database: Database, _case: str, said_after: timedelta, consumed_after: timedelta, is_good: bool
) -> None:
    session, device = await person_with_phone(database)
    begun = await ask_payment(database, session)
    try:
        await confirm(database, session, begun, device.get(begun.options), at=NOON + said_after)
    except ChallengeSpent:
        assert not is_good
    consumed = await consume(database, begun.challenge_id, at=NOON + consumed_after)
    assert list(consumed) == ([begun.challenge_id] if is_good else [])


async def test_many_are_consumed_together(database: Database) -> None:
    """Those that are good; the others are simply not there."""
    session, device = await person_with_phone(database)
    good = [await signed_yes(database, session, device) for _ in range(5)]
    unsigned = (await ask_payment(database, session)).challenge_id
    others = [(await ask(database)).challenge_id, (await ask_proof(database, session)).challenge_id, new_id()]
    assert set(await consume(database, *good, unsigned, *others)) == set(good)
    assert await consume(database) == {}


async def test_of_a_hundred_that_consume_one_yes_one_gets_it(database: Database, elsewhere: Database) -> None:
    session, device = await person_with_phone(database)
    yes = await signed_yes(database, session, device)
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*(consume((database, elsewhere)[n % 2], yes) for n in range(100)))
    assert sum(yes in outcome for outcome in outcomes) == 1


async def test_batches_that_bring_the_same_yes_wait_for_nobody(database: Database, elsewhere: Database) -> None:
    """In all orders, in two processes; each yes goes to one of them."""
    session, device = await person_with_phone(database)
    given = [await signed_yes(database, session, device) for _ in range(15)]
    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(
            *(consume((database, elsewhere)[n % 2], *given[n:], *given[:n]) for n in range(15)),
            *(consume((database, elsewhere)[n % 2], *given[::-1]) for n in range(15)),
        )
    assert sorted(yes for outcome in outcomes for yes in outcome) == given


async def test_staff_pay_nothing(database: Database) -> None:
    session = await session_of(database, new_id(), realm=Realm.STAFF)
    with pytest.raises(ValueError, match="only people pay"):
        await ask_payment(database, session)


async def test_who_has_no_passkey_says_yes_another_way(database: Database) -> None:
    session = await session_of(database, new_id())
    with pytest.raises(PasskeyUnknown):
        await ask_payment(database, session)
