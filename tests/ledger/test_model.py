"""Any mix of entries, holds and folds, held against a small model of the law, outcome by outcome."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from dewpond import ledger
from dewpond.kit.db import Database, Tx
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Currency, Money
from dewpond.ledger import AccountCode, AccountId, Entry, EntryKey, HoldEnded, HoldNotFound, NewHold, Outcome, Transfer
from dewpond.ledger.entries import MOST_MINOR

EUR = Currency("EUR")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass
class Account:
    currency: str
    floored: bool
    posted: int = 0
    held: int = 0

    @property
    def free(self) -> int:
        return self.posted - self.held


@dataclass
class Model:
    """The law in memory: outcomes by precedence, prefix sums first, then a second look."""

    accounts: dict[AccountId, Account]
    entries: dict[EntryKey, object] = field(default_factory=dict)
    holds: dict[EntryKey, "NewHold"] = field(default_factory=dict)
    pending: set[EntryKey] = field(default_factory=set)

    def post(self, batch: Sequence[Entry], hold: NewHold | None = None) -> list[Outcome]:
        outcomes = [Outcome.POSTED if _sound(e.transfers) else Outcome.INVALID for e in batch]
        mine: dict[EntryKey, object] = {}
        for i, entry in enumerate(batch):
            if outcomes[i] is Outcome.POSTED:
                content = (entry.transfers, hold and hold.key)
                known = self.entries.get(entry.key) or mine.get(entry.key)
                if known is not None:
                    outcomes[i] = Outcome.REPEAT if known == content else Outcome.KEY_REUSED
                mine.setdefault(entry.key, content)
        judged = [i for i, outcome in enumerate(outcomes) if outcome is Outcome.POSTED]
        nets = {i: _nets(batch[i].transfers) for i in judged}
        free = {a: account.free for a, account in self.accounts.items()}
        if hold is not None and judged:
            taken = -nets[0].get(hold.account_id, 0)
            if not 1 <= taken <= hold.amount.minor:
                return [Outcome.INVALID]
            free[hold.account_id] += hold.amount.minor

        asked = dict.fromkeys(self.accounts, 0)
        for i in judged:
            payers = [a for a in self._floored(nets[i]) if nets[i][a] < 0]
            for a in payers:
                asked[a] += nets[i][a]
            outcomes[i] = self._refusal(batch[i].transfers) or (
                Outcome.INSUFFICIENT if any(free[a] + asked[a] < 0 for a in payers) else Outcome.POSTED
            )
        moved = dict.fromkeys(self.accounts, 0)

        def accept(i: int) -> None:
            outcomes[i] = Outcome.POSTED
            for a, net in nets[i].items():
                moved[a] += net

        for i in judged:
            if outcomes[i] is Outcome.POSTED:
                accept(i)
        for i in judged:
            if outcomes[i] is Outcome.INSUFFICIENT and all(
                free[a] + moved[a] + nets[i][a] >= 0 for a in self._floored(nets[i]) if nets[i][a] < 0
            ):
                accept(i)
        for a, net in moved.items():
            self.accounts[a].posted += net
        for i in judged:
            if outcomes[i] is Outcome.POSTED:
                self.entries[batch[i].key] = (batch[i].transfers, hold and hold.key)
        return outcomes

    def post_hold(self, entry: Entry, hold_key: EntryKey) -> Outcome | str:
        hold = self.holds.get(hold_key)
        if not _sound(entry.transfers):
            return Outcome.INVALID
        if entry.key in self.entries:
            return Outcome.REPEAT if self.entries[entry.key] == (entry.transfers, hold_key) else Outcome.KEY_REUSED
        if hold is None:
            return HoldNotFound.code
        if hold_key not in self.pending:
            return HoldEnded.code
        (outcome,) = self.post([entry], hold)
        if outcome is Outcome.POSTED:
            self._release(hold_key)
        return outcome

    def hold(self, batch: Sequence[NewHold]) -> list[Outcome]:
        outcomes, seen = [], dict(self.holds)
        for hold in batch:
            account = self.accounts.get(hold.account_id)
            if not 1 <= hold.amount.minor <= MOST_MINOR:
                outcomes.append(Outcome.INVALID)
            elif hold.key in seen:
                known = self.holds.get(hold.key)
                same = known is None or (known.account_id, known.amount) == (hold.account_id, hold.amount)
                outcomes.append(Outcome.REPEAT if same else Outcome.KEY_REUSED)
            else:
                seen[hold.key] = hold
                if account is None:
                    outcomes.append(Outcome.NO_DEBIT_ACCOUNT)
                elif account.currency != hold.amount.currency:
                    outcomes.append(Outcome.CURRENCY_DIFFERS)
                elif account.floored and account.free < hold.amount.minor:
                    outcomes.append(Outcome.INSUFFICIENT)
                else:
                    account.held += hold.amount.minor
                    self.holds[hold.key] = hold
                    self.pending.add(hold.key)
                    outcomes.append(Outcome.POSTED)
        return outcomes

    def end_hold(self, key: EntryKey) -> bool:
        if key in self.pending:
            self._release(key)
            return True
        return False

    def _release(self, key: EntryKey) -> None:
        self.pending.remove(key)
        self.accounts[self.holds[key].account_id].held -= self.holds[key].amount.minor

    def _floored(self, accounts: dict[AccountId, int]) -> list[AccountId]:
        return [a for a in accounts if a in self.accounts and self.accounts[a].floored]

    def _refusal(self, transfers: Sequence[Transfer]) -> Outcome | None:
        if any(t.debit not in self.accounts for t in transfers):
            return Outcome.NO_DEBIT_ACCOUNT
        if any(t.credit not in self.accounts for t in transfers):
            return Outcome.NO_CREDIT_ACCOUNT
        if any(self.accounts[a].currency != t.amount.currency for t in transfers for a in (t.debit, t.credit)):
            return Outcome.CURRENCY_DIFFERS
        return None


def _sound(transfers: Sequence[Transfer]) -> bool:
    return bool(transfers) and all(t.debit != t.credit and 1 <= t.amount.minor <= MOST_MINOR for t in transfers)


def _nets(transfers: Sequence[Transfer]) -> dict[AccountId, int]:
    nets: dict[AccountId, int] = {}
    for t in transfers:
        nets[t.debit] = nets.get(t.debit, 0) - t.amount.minor
        nets[t.credit] = nets.get(t.credit, 0) + t.amount.minor
    return nets


# Accounts by number: wallets 0-3, shops 4-5, fees 6, bank 7, a wallet and a bank abroad 8-9, nobody 10.
WALLETS, BANK, ABROAD, NOBODY = (0, 1, 2, 3), 7, (8, 9), 10

anybody = st.one_of(st.integers(0, 6), st.integers(0, 6), st.integers(0, NOBODY))
amounts = st.one_of(st.integers(1, 60), st.integers(1, 60), st.sampled_from([0, -3, 400, MOST_MINOR, MOST_MINOR + 1]))
moves = st.tuples(anybody, anybody, amounts, st.sampled_from([CNY] * 9 + [EUR]))
payments = st.tuples(st.integers(0, 3), st.integers(4, 5), st.integers(1, 90)).map(
    lambda p: ((p[0], p[1], p[2], CNY), (p[1], 6, 1, CNY))
)
top_ups = st.tuples(st.integers(0, 5), st.integers(1, 200)).map(lambda t: ((BANK, t[0], t[1], CNY),))
shapes = st.one_of(payments, payments, top_ups, st.lists(moves, max_size=4).map(tuple))
# Few keys, and each with a shape or two of its own, so that repeats and reuse are common.
numbered = st.tuples(st.integers(0, 60), shapes)
holdings = st.tuples(st.integers(0, 8), anybody, amounts, st.sampled_from([CNY] * 9 + [EUR]))
steps = st.one_of(
    st.tuples(st.just("post"), st.lists(numbered, max_size=12)),
    st.tuples(st.just("post"), st.lists(numbered, min_size=1, max_size=1)),
    st.tuples(st.just("again"), st.lists(st.integers(0, 400), min_size=1, max_size=6)),
    st.tuples(st.just("hold"), st.lists(holdings, min_size=1, max_size=3)),
    st.tuples(st.just("post_hold"), st.tuples(st.integers(0, 8), numbered)),
    st.tuples(st.just("void"), st.integers(0, 8)),
    st.tuples(st.just("expire"), st.none()),
    st.tuples(st.just("fold"), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(script=st.lists(steps, min_size=3, max_size=14))
async def test_every_outcome_is_the_models(script, database: Database):
    at = NOON
    ids, accounts = [], {}
    wanted = [(AccountCode.WALLET, CNY)] * 4 + [(AccountCode.UNSETTLED, CNY)] * 2
    wanted += [(AccountCode.FEES, CNY), (AccountCode.BANK, CNY), (AccountCode.WALLET, EUR), (AccountCode.BANK, EUR)]
    new = [ledger.NewAccount(new_id(), code, currency) for code, currency in wanted]
    for account in new:
        ids.append(ledger.account_of(account.owner_id, account.code, account.currency))
        floored = account.code in {AccountCode.WALLET, AccountCode.UNSETTLED}
        accounts[ids[-1]] = Account(account.currency, floored)
    ids.append(AccountId(new_id()))
    keys, hold_keys = [EntryKey(new_id()) for _ in range(61)], [EntryKey(new_id()) for _ in range(9)]
    model, sent = Model(accounts), []
    async with database.transaction() as tx:
        await ledger.open_accounts(tx, new, wall_now=at)

    def entry(numbered) -> Entry:
        number, shape = numbered
        transfers = tuple(Transfer(ids[d], ids[c], Money(m, currency)) for d, c, m, currency in shape)
        made = Entry(keys[number], transfers, at)
        sent.append(made)
        return made

    for verb, what in script:
        async with database.transaction() as tx:
            if verb in {"post", "again"}:
                if verb == "post":
                    batch = [entry(numbered) for numbered in what]
                else:
                    batch = [sent[i % len(sent)] for i in what] if sent else []
                expected = model.post(batch)
                assert await ledger.post(tx, batch, wall_now=at) == expected
            elif verb == "hold":
                holds = [
                    NewHold(
                        key=hold_keys[k],
                        account_id=ids[a],
                        amount=Money(m, currency),
                        occurred_at=at,
                        expires_at=at + timedelta(hours=1) if k % 2 else None,
                    )
                    for k, a, m, currency in what
                ]
                assert await ledger.hold(tx, holds, wall_now=at) == model.hold(holds)
            elif verb == "post_hold":
                number, numbered = what
                made = entry(numbered)
                try:
                    found = await ledger.post_hold(tx, made, hold_keys[number], wall_now=at)
                except (HoldNotFound, HoldEnded) as refused:
                    found = refused.code
                assert found == model.post_hold(made, hold_keys[number])
            elif verb == "void":
                before = await tx.connection.fetchval("select status from ledger.holds where key = $1", hold_keys[what])
                found = await ledger.void_hold(tx, hold_keys[what], at=at)
                assert found == (model.end_hold(hold_keys[what]) or before == "voided")
            elif verb == "expire":
                for key in [key for key in model.pending if model.holds[key].expires_at is not None]:
                    model.end_hold(key)
                await ledger.expire_holds(tx, now=at + timedelta(hours=1))
            else:
                await ledger.fold(tx)
                await ledger.write_statements(tx)
        async with database.transaction() as tx:
            for account_id, expected_account in accounts.items():
                balance = await ledger.get_balance(tx, account_id)
                assert (balance.posted, balance.held) == (expected_account.posted, expected_account.held)
                assert balance.available >= 0 or not expected_account.floored
        for currency in (CNY, EUR):
            assert sum(a.posted for a in accounts.values() if a.currency == currency) == 0
    async with database.transaction() as tx:
        await _statements_agree(tx, model)
        assert (await ledger.trial_balance(tx)).is_sound


async def _statements_agree(tx: Tx, model: Model) -> None:
    """Each account's statement, read page by page, is every transfer of the model's entries, newest first."""
    expected = dict.fromkeys(model.accounts, 0)
    for transfers, _ in model.entries.values():
        for t in transfers:
            expected[t.debit] += 1
            expected[t.credit] += 1
    for account_id, account in model.accounts.items():
        lines: list[ledger.StatementLine] = []
        while page := await ledger.list_statement(tx, account_id, before=lines[-1].cursor if lines else None, limit=7):
            lines += page
        assert (len(lines), sum(line.minor for line in lines)) == (expected[account_id], account.posted)
        places = [(line.occurred_at, line.entry_key, line.n) for line in lines]
        assert all(newer > older for newer, older in pairwise(places))
