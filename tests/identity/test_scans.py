"""Scans: a second device is let in once, by the person who saw its number, and only the browser that asked gets in."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dewpond.identity import (
    BegunScan,
    How,
    PersonId,
    Realm,
    Scan,
    ScanSpent,
    ScanState,
    Session,
    approve_scan,
    begin_scan,
    forget_expired,
    get_scan,
    get_scan_state,
    open_session,
    redeem_scan,
    refuse_scan,
)
from dewpond.kit.db import Database
from dewpond.kit.ids import from_text, new_id

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LAST_MOMENT = 2 * MINUTE - timedelta(microseconds=1)


async def begin(database: Database, *, device: str = "Firefox on Linux") -> BegunScan:
    async with database.transaction() as tx:
        return await begin_scan(tx, device=device, address="198.51.100.4", wall_now=NOON)


async def read(database: Database, scan_id: UUID, *, at: datetime = NOON) -> Scan:
    async with database.transaction() as tx:
        return await get_scan(tx, scan_id, wall_now=at)


async def approve(
    database: Database, begun: BegunScan, session: Session, number: int | None = None, *, at: datetime = NOON
) -> ScanState:
    async with database.transaction() as tx:
        return await approve_scan(tx, begun.id, session, begun.number if number is None else number, wall_now=at)


async def refuse(database: Database, begun: BegunScan) -> ScanState:
    async with database.transaction() as tx:
        return await refuse_scan(tx, begun.id, wall_now=NOON)


async def state(database: Database, begun: BegunScan, secret: str | None = None, *, at: datetime = NOON) -> ScanState:
    async with database.transaction() as tx:
        return await get_scan_state(tx, begun.id, begun.browser_secret if secret is None else secret, wall_now=at)


async def redeem(database: Database, begun: BegunScan, secret: str | None = None, *, at: datetime = NOON) -> PersonId:
    async with database.transaction() as tx:
        return await redeem_scan(tx, begun.id, begun.browser_secret if secret is None else secret, wall_now=at)


@pytest.fixture
async def session(database: Database) -> Session:
    """Alice, signed in on her phone."""
    async with database.transaction() as tx:
        opened, _ = await open_session(
            tx, Realm.PERSON, new_id(), device="Phone", address="", how=How.PASSKEY, wall_now=NOON
        )
    return opened


def wrong(scan: Scan, begun: BegunScan) -> int:
    return next(number for number in scan.numbers if number != begun.number)


async def test_the_second_device_is_let_in_by_the_first(database: Database, session: Session) -> None:
    begun = await begin(database)
    assert await state(database, begun) is ScanState.WAITING
    scan = await read(database, from_text("scn", begun.text_id))
    assert (scan.device, scan.address, scan.created_at) == ("Firefox on Linux", "198.51.100.4", NOON)
    assert begun.number in scan.numbers
    assert await approve(database, begun, session) is ScanState.APPROVED
    assert await state(database, begun) is ScanState.APPROVED
    assert await redeem(database, begun) == session.holder_id


async def test_the_phone_is_not_told_which_number_is_right(database: Database) -> None:
    """Three different ones, and the right one in any place."""
    places: Counter[int] = Counter()
    for _ in range(60):
        begun = await begin(database)
        scan = await read(database, begun.id)
        assert len(set(scan.numbers)) == 3
        assert all(10 <= number <= 99 for number in scan.numbers)
        assert not hasattr(scan, "number")
        places[scan.numbers.index(begun.number)] += 1
    assert len(places) == 3


async def test_an_id_has_no_time_in_it_and_does_not_repeat(database: Database) -> None:
    begun = [await begin(database) for _ in range(50)]
    assert len({one.id.int >> 80 for one in begun}) == len({one.browser_secret for one in begun}) == 50
    assert len({one.id.version for one in begun}) > 1


async def test_the_device_is_named_in_letters_that_show(database: Database) -> None:
    begun = await begin(database, device="Your own phone\u202e\0" + "x" * 100)
    assert (await read(database, begun.id)).device == "Your own phone" + "x" * 50


# --- no --------------------------------------------------------------------------------------------------------------


async def test_a_wrong_number_ends_it(database: Database, session: Session) -> None:
    """The right one afterwards is too late, also from another phone."""
    begun = await begin(database)
    scan = await read(database, begun.id)
    assert await approve(database, begun, session, wrong(scan, begun)) is ScanState.REFUSED
    assert await state(database, begun) is ScanState.REFUSED
    for attempt in (approve(database, begun, session), read(database, begun.id), redeem(database, begun)):
        with pytest.raises(ScanSpent):
            await attempt
    assert await state(database, begun) is ScanState.REFUSED


@pytest.mark.parametrize("number", [0, -1, 100, 2**31 - 1])
async def test_a_number_that_was_not_offered_ends_it_too(database: Database, session: Session, number: int) -> None:
    begun = await begin(database)
    assert await approve(database, begun, session, number) is ScanState.REFUSED
    with pytest.raises(ScanSpent):
        await redeem(database, begun)


async def test_a_person_says_no(database: Database, session: Session) -> None:
    begun = await begin(database)
    assert await refuse(database, begun) is ScanState.REFUSED
    for attempt in (approve(database, begun, session), refuse(database, begun), redeem(database, begun)):
        with pytest.raises(ScanSpent):
            await attempt


async def test_a_yes_is_not_taken_back(database: Database, session: Session) -> None:
    begun = await begin(database)
    await approve(database, begun, session)
    for attempt in (refuse(database, begun), approve(database, begun, session, 0)):
        with pytest.raises(ScanSpent):
            await attempt
    assert await redeem(database, begun) == session.holder_id


async def test_nobody_gets_in_before_the_yes(database: Database) -> None:
    begun = await begin(database)
    with pytest.raises(ScanSpent):
        await redeem(database, begun)
    assert await state(database, begun) is ScanState.WAITING


@pytest.mark.parametrize(
    ("_case", "secret"),
    [("none", ""), ("made up", "A" * 43), ("the right one cut short", None), ("no ASCII", "é"), ("a null", "\0")],
)
async def test_only_the_browser_that_asked_gets_in(
    database: Database, session: Session, _case: str, secret: str | None
) -> None:
    """Who has read the code over a shoulder knows its id, and that is not enough, nor told how far it is."""
    begun = await begin(database)
    stolen = begun.browser_secret[:-1] if secret is None else secret
    assert await state(database, begun, stolen) is ScanState.EXPIRED
    await approve(database, begun, session)
    assert await state(database, begun, stolen) is ScanState.EXPIRED
    with pytest.raises(ScanSpent):
        await redeem(database, begun, stolen)
    other = await begin(database)
    with pytest.raises(ScanSpent):
        await redeem(database, begun, other.browser_secret)
    assert await redeem(database, begun) == session.holder_id


async def test_staff_let_nobody_in(database: Database) -> None:
    async with database.transaction() as tx:
        staff, _ = await open_session(tx, Realm.STAFF, new_id(), device="", address="", how=How.PASSWORD, wall_now=NOON)
    begun = await begin(database)
    with pytest.raises(ValueError, match="only people"):
        await approve(database, begun, staff)
    assert await state(database, begun) is ScanState.WAITING


# --- time and number --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "approved_after", "redeemed_after", "gets_in"),
    [
        ("at once", timedelta(0), timedelta(0), True),
        ("all in the last moment", LAST_MOMENT, LAST_MOMENT, True),
        ("approved too late", 2 * MINUTE, 2 * MINUTE, False),
        ("approved in time, redeemed too late", MINUTE, 2 * MINUTE, False),
    ],
)
async def test_it_takes_two_minutes_at_most(
    database: Database,
    session: Session,
    _case: str,
    approved_after: timedelta,
    redeemed_after: timedelta,
    gets_in: bool,
) -> None:
    begun = await begin(database)
    assert begun.expires_at == NOON + 2 * MINUTE

    async def whole_way() -> Any:
        await read(database, begun.id, at=NOON + approved_after)
        await approve(database, begun, session, at=NOON + approved_after)
        return await redeem(database, begun, at=NOON + redeemed_after)

    if gets_in:
        assert await whole_way() == session.holder_id
    else:
        with pytest.raises(ScanSpent):
            await whole_way()
        assert await state(database, begun, at=NOON + redeemed_after) is ScanState.EXPIRED


async def test_it_is_redeemed_once(database: Database, session: Session) -> None:
    begun = await begin(database)
    await approve(database, begun, session)
    assert await redeem(database, begun) == session.holder_id
    with pytest.raises(ScanSpent):
        await redeem(database, begun)
    assert await state(database, begun) is ScanState.EXPIRED


async def test_an_unknown_code_is_a_used_one(database: Database, session: Session) -> None:
    nothing = BegunScan(id=new_id(), number=10, browser_secret="x", expires_at=NOON)
    for attempt in (
        read(database, nothing.id),
        approve(database, nothing, session),
        refuse(database, nothing),
        redeem(database, nothing),
    ):
        with pytest.raises(ScanSpent):
            await attempt


async def test_of_a_hundred_redemptions_of_one_scan_one_gets_in(
    database: Database, elsewhere: Database, session: Session
) -> None:
    begun = await begin(database)
    await approve(database, begun, session)

    async def attempt(pool: Database) -> UUID | None:
        try:
            return await redeem(pool, begun)
        except ScanSpent:
            return None

    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(*(attempt((database, elsewhere)[n % 2]) for n in range(100)))
    assert Counter(outcomes) == {None: 99, session.holder_id: 1}


async def test_of_all_numbers_tried_at_once_one_is_heard(
    database: Database, elsewhere: Database, session: Session
) -> None:
    """So that nobody tries all three."""
    for _ in range(10):
        begun = await begin(database)
        scan = await read(database, begun.id)

        async def attempt(pool: Database, number: int, begun: BegunScan = begun) -> ScanState | None:
            try:
                return await approve(pool, begun, session, number)
            except ScanSpent:
                return None

        outcomes = await asyncio.gather(
            *(attempt((database, elsewhere)[n % 2], number) for n, number in enumerate(scan.numbers * 3))
        )
        (heard,) = (outcome for outcome in outcomes if outcome is not None)
        assert await state(database, begun) is heard


async def test_scans_that_have_run_out_are_forgotten(database: Database, session: Session) -> None:
    waiting, approved = await begin(database), await begin(database)
    await approve(database, approved, session)
    async with database.transaction() as tx:
        await forget_expired(tx, wall_now=NOON + LAST_MOMENT, most=10_000)
    assert await state(database, waiting) is ScanState.WAITING
    async with database.transaction() as tx:
        await forget_expired(tx, wall_now=NOON + 2 * MINUTE, most=10_000)
    assert await state(database, waiting) is await state(database, approved) is ScanState.EXPIRED
