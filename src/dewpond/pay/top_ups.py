"""Top-ups: money from outside into a person's wallet, by the operator's desk or a sandbox door.

Above a set sum two members of the staff are needed (a proposal, then another's yes):

    open ──▶ agreed     (the money is in the wallet)
      └────▶ refused    (by anybody, who proposed it included)

Two accounts are not yet two people: who let another in may hold both, and those whom that one let in. So accounts
whose chains of invitations end at one root (`merchants.list_kin`) count as one: they share what may be put in alone
(`propose_top_up`), and none of them is another's second person (`SecondPerson`).
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from dewpond import ledger, merchants
from dewpond.identity import PersonId
from dewpond.kit import worlds
from dewpond.kit.clock import SHANGHAI, Now
from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import derived_beside, new_id
from dewpond.kit.money import AmountInvalid, Currency, Money
from dewpond.kit.outbox import publish
from dewpond.ledger import Entry, Outcome, Transfer
from dewpond.merchants import StaffId
from dewpond.pay.accounts import bank_of, open_house_accounts, open_wallets, top_up_entry_key, wallet_of
from dewpond.pay.events import WalletToppedUp
from dewpond.pay.movements import Movement, MovementKind, record_movement

sql = queries(__file__)

#: The most that is taken in one step, in minor units: a slip of the finger must not print money.
MOST_MINOR: Final = 10**12
#: Letters of a reason that are kept.
REASON_LENGTH: Final = 200
#: The most that a sandbox's door gives at a time, in minor units.
DOOR_MINOR: Final = 100_000
#: How long an account is there before its yes counts, in wall time: the others shall have seen it.
SECOND_PERSON_AFTER: Final = timedelta(hours=24)


class TopUpTooMuch(Failure):
    """The sandbox's door does not give so much at a time."""

    code, kind = "top_up_too_much", Kind.INVALID


class TopUpProposalNotFound(Failure):
    """There is no such proposal."""

    code, kind = "top_up_proposal_not_found", Kind.NOT_FOUND


class TopUpProposalEnded(Failure):
    """This proposal was agreed or refused before."""

    code, kind = "top_up_proposal_ended", Kind.CONFLICT


class TopUpDiffers(Failure):
    """This top-up was asked for before, with another sum."""

    code, kind = "top_up_differs", Kind.CONFLICT


class SecondPersonNeeded(Failure):
    """Another member of the staff must agree to this."""

    code, kind = "second_person_needed", Kind.FORBIDDEN


class SecondPersonRelated(Failure):
    """These two were let in by the same chain of invitations; somebody from another must agree to this."""

    code, kind = "second_person_related", Kind.FORBIDDEN


class SecondPersonTooNew(Failure):
    """This account is too new: its yes counts a day after it was first used."""

    code, kind = "second_person_too_new", Kind.FORBIDDEN


class TopUp(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came in."""

    person_id: PersonId
    id: UUID
    minor: int
    currency: Currency
    occurred_at: datetime
    #: Who put it in; None by a sandbox's door or from the terminal.
    by_staff_id: UUID | None = None
    #: Who agreed, where two were needed.
    agreed_staff_id: UUID | None = None
    #: What for, in the words of who put it in.
    reason: str = ""

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)


class TopUpProposalStatus(StrEnum):
    """The life of a proposal."""

    OPEN = "open"
    AGREED = "agreed"
    REFUSED = "refused"


class TopUpProposal(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up that waits for a second person."""

    person_id: PersonId
    #: Also of the top-up that becomes of it.
    id: UUID
    minor: int
    currency: Currency
    status: TopUpProposalStatus
    proposed_staff_id: UUID
    proposed_at: datetime
    ended_staff_id: UUID | None = None
    ended_at: datetime | None = None
    reason: str = ""

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)


class SecondPerson(msgspec.Struct, frozen=True, kw_only=True):
    """A member of staff who is to agree, and what is known of how they came here."""

    staff_id: UUID
    #: Since when the account is in use, in wall time.
    since: datetime
    #: Whoever shares a root with them, as `merchants.list_kin` says it.
    kin: frozenset[UUID]

    def refusal(self, proposal: TopUpProposal, *, wall_now: datetime) -> Failure | None:
        """Why their yes would not be another's yes to this proposal; None where it is."""
        if proposal.proposed_staff_id == self.staff_id:
            return SecondPersonNeeded()
        if proposal.proposed_staff_id in self.kin:
            return SecondPersonRelated()
        counts_from = self.since + SECOND_PERSON_AFTER
        return SecondPersonTooNew(counts_from=counts_from) if wall_now < counts_from else None


async def top_up(tx: Tx, person_id: PersonId, amount: Money, *, now: Now, by_staff_id: UUID | None = None) -> TopUp:
    """Put money into a person's wallet; it can be spent in the same moment. Refuses non-positive and absurd sums."""
    _check(amount)
    return await _carry_out(tx, _top_up(person_id, new_id(), amount, now, by_staff_id), now=now)


async def top_up_by_door(tx: Tx, person_id: PersonId, amount: Money, *, now: Now, key: UUID | None = None) -> TopUp:
    """Let a person of a sandbox put play money into their own wallet, so much at a time.

    As often as they like: whoever tries something out under a frozen clock shall not have to wait for another day.
    The same `key` again puts nothing in, and answers with what it did. Refuses with `OnlyInSandbox`, `TopUpTooMuch`,
    `AmountInvalid` for what is no positive sum, and `TopUpDiffers` where the key came with another one.
    """
    await worlds.require_sandbox(tx)
    if amount.minor > DOOR_MINOR:
        raise TopUpTooMuch(most=Money(DOOR_MINOR, amount.currency))
    if key is None:
        return await top_up(tx, person_id, amount, now=now)
    _check(amount)
    await tx.run(sql.lock_door, person_id=person_id)
    own_id = derived_beside(key, "top-up by door", person_id)
    earlier = await tx.row(TopUp, sql.find_top_up, person_id=person_id, id=own_id)
    if earlier is None:
        return await _carry_out(tx, _top_up(person_id, own_id, amount, now), now=now)
    if earlier.amount != amount:
        raise TopUpDiffers(amount=earlier.amount)
    return earlier


async def propose_top_up(
    tx: Tx,
    person_id: PersonId,
    amount: Money,
    *,
    by_staff_id: UUID,
    alone_minor: int | None,
    now: Now,
    key: UUID | None = None,
    reason: str = "",
) -> TopUp | TopUpProposal:
    """Put money in at once as far as one member of the staff may alone; above that, ask for another's yes.

    `alone_minor` is what one may put in on a day of the world, in this currency and over all people, so that nothing is
    gained by cutting a large sum up; nor by letting others in, for it is shared with all their kin. None sets no such
    sum. The same `key` of the same member of staff again changes nothing, and answers with what became of it. Refuses
    non-positive and absurd sums, and with `TopUpDiffers` a key that came with another sum.
    """
    _check(amount)
    await tx.run(sql.lock_desk)
    own_id = new_id() if key is None else derived_beside(key, "top-up", by_staff_id, person_id)
    if key is not None and (earlier := await _find(tx, person_id, own_id)) is not None:
        if earlier.amount != amount:
            raise TopUpDiffers(amount=earlier.amount)
        return earlier
    if alone_minor is None or await _put_in_alone(tx, by_staff_id, amount.currency, now) + amount.minor <= alone_minor:
        done = TopUp(
            person_id=person_id,
            id=own_id,
            minor=amount.minor,
            currency=amount.currency,
            occurred_at=now.world,
            by_staff_id=by_staff_id,
            reason=reason[:REASON_LENGTH],
        )
        return await _carry_out(tx, done, now=now)
    proposal = TopUpProposal(
        person_id=person_id,
        id=own_id,
        minor=amount.minor,
        currency=amount.currency,
        status=TopUpProposalStatus.OPEN,
        proposed_staff_id=by_staff_id,
        proposed_at=now.world,
        reason=reason[:REASON_LENGTH],
    )
    await tx.run(sql.create_proposal, **msgspec.structs.asdict(proposal))
    return proposal


async def agree_top_up(tx: Tx, person_id: UUID, proposal_id: UUID, *, by: SecondPerson, now: Now) -> TopUp:
    """Say yes to another's proposal; the money is in the wallet.

    Refuses with `TopUpProposalNotFound`, `TopUpProposalEnded`, for whoever proposed it with `SecondPersonNeeded`, for
    their kin with `SecondPersonRelated`, and on somebody's first day with `SecondPersonTooNew`.
    """
    proposal = await _lock_open(tx, person_id, proposal_id)
    refusal = by.refusal(proposal, wall_now=now.wall)
    if refusal is not None:
        raise refusal
    await _end(tx, proposal, TopUpProposalStatus.AGREED, by_staff_id=by.staff_id, now=now)
    return await _carry_out(
        tx,
        TopUp(
            person_id=proposal.person_id,
            id=proposal.id,
            minor=proposal.minor,
            currency=proposal.currency,
            occurred_at=now.world,
            by_staff_id=proposal.proposed_staff_id,
            agreed_staff_id=by.staff_id,
            reason=proposal.reason,
        ),
        now=now,
    )


async def refuse_top_up(tx: Tx, person_id: UUID, proposal_id: UUID, *, by_staff_id: UUID, now: Now) -> TopUpProposal:
    """Say no to a proposal, or take one's own back; what was proposed. Refuses with `TopUpProposalNotFound`,
    `TopUpProposalEnded`."""
    proposal = await _lock_open(tx, person_id, proposal_id)
    await _end(tx, proposal, TopUpProposalStatus.REFUSED, by_staff_id=by_staff_id, now=now)
    return proposal


async def list_open_top_up_proposals(tx: Tx, *, most: int = 100) -> list[TopUpProposal]:
    """What waits for a second person, the oldest first."""
    return await tx.rows(TopUpProposal, sql.list_open_proposals, most=most)


async def count_open_top_up_proposals(tx: Tx) -> int:
    """How much waits for a second person."""
    return int(await tx.value(sql.count_open_proposals))


async def list_top_ups_by_staff(tx: Tx, *, most: int = 50) -> list[TopUp]:
    """What the staff have put in, the newest first; not what came by a sandbox's door."""
    return await tx.rows(TopUp, sql.list_by_staff, most=most)


async def _find(tx: Tx, person_id: UUID, own_id: UUID) -> TopUp | TopUpProposal | None:
    done = await tx.row(TopUp, sql.find_top_up, person_id=person_id, id=own_id)
    return done or await tx.row(TopUpProposal, sql.find_proposal, person_id=person_id, id=own_id)


def _check(amount: Money) -> None:
    if not 1 <= amount.minor <= MOST_MINOR:
        raise AmountInvalid(amount=str(amount))


def _top_up(person_id: PersonId, own_id: UUID, amount: Money, now: Now, by_staff_id: UUID | None = None) -> TopUp:
    return TopUp(
        person_id=person_id,
        id=own_id,
        minor=amount.minor,
        currency=amount.currency,
        occurred_at=now.world,
        by_staff_id=by_staff_id,
    )


async def _carry_out(tx: Tx, done: TopUp, *, now: Now) -> TopUp:
    await open_house_accounts(tx, now=now, currency=done.currency)
    await open_wallets(tx, [done.person_id], now=now, currency=done.currency)
    wallet = wallet_of(done.person_id, done.currency)
    transfer = Transfer(debit=bank_of(done.currency), credit=wallet, amount=done.amount)
    entry = Entry(key=top_up_entry_key(done.id), transfers=(transfer,), occurred_at=now.world)
    outcome = (await ledger.post(tx, [entry], wall_now=now.wall))[0]
    if outcome is not Outcome.POSTED:
        raise ValueError(f"the ledger answers {outcome} for a top-up")
    await tx.run(sql.create_top_up, **msgspec.structs.asdict(done))
    await record_movement(
        tx,
        Movement(
            person_id=done.person_id,
            id=done.id,
            kind=MovementKind.TOP_UP,
            title="",  # a face says it in the reader's language
            minor=done.minor,
            currency=done.currency,
            occurred_at=done.occurred_at,
        ),
    )
    event = WalletToppedUp(
        top_up_id=done.id,
        person_id=done.person_id,
        minor=done.minor,
        currency=done.currency,
        occurred_at=done.occurred_at,
    )
    await publish(tx, [event], wall_now=now.wall)
    return done


async def _put_in_alone(tx: Tx, staff_id: UUID, currency: Currency, now: Now) -> int:
    """What this one and their kin have put in today without a second; whoever asks holds `lock_desk`."""
    since = now.world.astimezone(SHANGHAI).replace(hour=0, minute=0, second=0, microsecond=0)
    kin = await merchants.list_kin(tx, StaffId(staff_id))
    return int(await tx.value(sql.sum_alone, staff_ids=list(kin), currency=currency, since=since))


async def _lock_open(tx: Tx, person_id: UUID, proposal_id: UUID) -> TopUpProposal:
    proposal = await tx.row(TopUpProposal, sql.lock_proposal, person_id=person_id, id=proposal_id)
    if proposal is None:
        raise TopUpProposalNotFound
    if proposal.status is not TopUpProposalStatus.OPEN:
        raise TopUpProposalEnded(status=proposal.status)
    return proposal


async def _end(tx: Tx, proposal: TopUpProposal, status: TopUpProposalStatus, *, by_staff_id: UUID, now: Now) -> None:
    await tx.run(
        sql.end_proposal,
        person_id=proposal.person_id,
        id=proposal.id,
        status=status,
        ended_staff_id=by_staff_id,
        ended_at=now.world,
    )
