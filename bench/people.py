"""Who a scenario is played with: people with money, some of it held, a PIN, and merchants who can be paid."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from dewpond import ledger, merchants, pay
from dewpond.identity import create_person, set_pin
from dewpond.kit import clock, crypto, worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Database, Tx
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import WorldKind
from dewpond.ledger import AccountCode, Entry, EntryKey, NewAccount, NewHold, Transfer

PIN = "123456"
#: So much each has, and every tenth has so much of it held, so that `balance - held` is what is checked.
_WEALTH = Money(10**10, CNY)
_HELD = Money(500, CNY)
_AT_ONCE = 2_000

# One number for all of them as well: nobody is asked for it here.
_COPY_PEOPLE = """
insert into identity.people (id, number, name, created_at, is_demo)
select id, '1000000009', 'Somebody', $2, true from unnest($1::uuid[]) id
"""
# One person's PIN for all of them: its value depends on PIN, salt and key alone.
_COPY_PINS = """
insert into identity.pins (person_id, key_id, salt, value, set_at)
select id, pin.key_id, pin.salt, pin.value, pin.set_at
from unnest($1::uuid[]) id, identity.pins pin where pin.person_id = $2
on conflict do nothing
"""


async def found_world(db: Database, secrets: MasterKeys) -> Now:
    """A sandbox world with its platform's keys and the house's accounts."""
    wall = clock.wall_now()
    async with db.transaction() as tx:
        world = await worlds.create_world(tx, WorldKind.SANDBOX, public_url="http://localhost:8601", wall_now=wall)
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=wall)
        await pay.open_house_accounts(tx, now=world.time(wall))
    return world.time(wall)


async def settle_people(db: Database, secrets: MasterKeys, count: int, *, with_pins: bool) -> list[UUID]:
    """So many people with full wallets; every tenth has a hold on it."""
    people = [new_id() for _ in range(count)]
    wall = clock.wall_now()
    async with db.transaction() as tx:
        model = await create_person(tx, "Model", wall_now=wall, is_demo=True)
        await set_pin(tx, model.id, PIN, secrets=secrets, wall_now=wall)
    for at in range(0, count, _AT_ONCE):
        some = people[at : at + _AT_ONCE]
        async with db.transaction() as tx:
            if with_pins:
                await tx.connection.execute(_COPY_PEOPLE, some, wall)
                await tx.connection.execute(_COPY_PINS, some, model.id)
            await _fill_wallets(tx, some, wall)
    return people


async def _fill_wallets(tx: Tx, people: Sequence[UUID], wall: datetime) -> None:
    wallets = [NewAccount(owner_id=person, code=AccountCode.WALLET, currency=CNY) for person in people]
    await ledger.open_accounts(tx, wallets, wall_now=wall)
    ids = [ledger.account_of(person, AccountCode.WALLET, CNY) for person in people]
    bank = pay.bank_of(CNY)
    transfers = tuple(Transfer(bank, wallet, _WEALTH) for wallet in ids)
    _expect(await ledger.post(tx, [Entry(EntryKey(new_id()), transfers, wall)], wall_now=wall))
    holds = [NewHold(key=EntryKey(new_id()), account_id=wallet, amount=_HELD, occurred_at=wall) for wallet in ids[::10]]
    _expect(await ledger.hold(tx, holds, wall_now=wall))


def _expect(outcomes: Sequence[ledger.Outcome]) -> None:
    if any(outcome is not ledger.Outcome.POSTED for outcome in outcomes):
        raise ValueError(f"the ledger answers {set(outcomes)}")


async def settle_payees(db: Database, count: int) -> list[UUID]:
    """So many merchants as the ledger knows them: an account to be paid into, nothing else."""
    payees = [new_id() for _ in range(count)]
    async with db.transaction() as tx:
        accounts = [NewAccount(owner_id=payee, code=AccountCode.UNSETTLED, currency=CNY) for payee in payees]
        await ledger.open_accounts(tx, accounts, wall_now=clock.wall_now())
    return payees


async def onboard(db: Database, secrets: MasterKeys, count: int) -> list[dict[str, Any]]:
    """So many merchants as the wire knows them, with what their software needs; they share one private key."""
    key_pem = crypto.new_private_key_pem()
    told = []
    for number in range(count):
        async with db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            onboarded = await merchants.onboard_merchant(tx, f"Shop {number}", secrets=secrets, wall_now=now.wall)
            merchant = onboarded.merchant
            csr = crypto.certificate_signing_request(key_pem, merchant.number)
            certificate = await merchants.issue_certificate(tx, merchant, csr, secrets=secrets, wall_now=now.wall)
            await pay.open_merchant_accounts(tx, merchant.id, now=now)
        told.append(
            {
                "mchid": merchant.number,
                "appid": onboarded.app.appid,
                "serial": certificate.serial,
                "private_key": key_pem.decode(),
            }
        )
    return told


async def fold_all(db: Database) -> None:
    """Add up every slip."""
    while True:
        async with db.transaction() as tx:
            if not await ledger.fold(tx, most=50_000):
                return


async def prove_books(db: Database) -> bool:
    """Whether every currency sums to zero and nothing is adrift; on a connection without a limit on its time."""
    connection = await db.session()
    try:
        async with connection.transaction():
            return (await ledger.trial_balance(Tx(connection))).is_sound
    finally:
        await connection.close()
