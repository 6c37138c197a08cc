-- name: trial_balance
-- One statement, one snapshot. Sums are numeric inside, so that a forged row cannot overflow them.
with slips as (
  select account_id as id, sum(minor) as minor from ledger.slips group by 1
), moved as (
  select id, sum(minor) as minor, count(*) as lines
  from (select debit, -minor from ledger.transfers union all select credit, minor from ledger.transfers) leg (id, minor)
  group by 1
), pending as (
  select account_id as id, sum(minor) as minor from ledger.holds where status = 'pending' group by 1
), listed as (
  select id, sum(minor) as minor, count(*) as lines
  from (
    select account_id, minor from ledger.statement_lines
    union all
    select side.id, side.minor
    from ledger.unlisted u, unnest(u.keys) waiting (key)
    join ledger.transfers t on t.entry_key = waiting.key,
    lateral (values (t.debit, -t.minor), (t.credit, t.minor)) side (id, minor)
  ) line (id, minor)
  group by 1
), book as (
  select id, a.id is not null as known, a.owner_id, a.code, a.currency, a.floor, a.held, a.balance,
         a.balance + coalesce(slips.minor, 0) as posted,
         coalesce(moved.minor, 0) as moved, coalesce(pending.minor, 0) as pending,
         (moved.minor, moved.lines) is distinct from (listed.minor, listed.lines) as misstated
  from ledger.accounts a
  full join slips using (id) full join moved using (id) full join pending using (id) full join listed using (id)
), regular as (
  select b.id, count(*) over (partition by b.owner_id, b.code, b.currency) > 1
               or chart.code is null or b.floor is distinct from chart.floor as irregular
  from book b left join ledger.chart on chart.code = b.code where b.known
), bodies as (
  select entry_key as key, count(*) as transfers, min(n) = 1 and max(n) = count(*) as whole,
         array_agg(debit order by n) as debits, array_agg(credit order by n) as credits,
         array_agg(minor order by n) as minors, array_agg(currency order by n) as currencies
  from ledger.transfers group by 1
), entries as (
  select e.key is null as orphaned, b.key is null as empty, coalesce(b.transfers, 0) as transfers,
         e.key is not null and b.key is not null and (b.whole and e.content =
           ledger.content_of(b.debits, b.credits, b.minors, b.currencies, coalesce(h.key, r.entry_key))
         ) is not true as altered
  from ledger.entries e
  full join bodies b on b.key = e.key
  left join ledger.holds h on h.entry_key = e.key
  left join ledger.reversals r on r.key = e.key
), crossing as (
  select count(*) as n
  from ledger.transfers t
  join ledger.accounts d on d.id = t.debit
  join ledger.accounts c on c.id = t.credit
  where t.currency <> d.currency or t.currency <> c.currency
), altered_holds as (
  select count(*) as n
  from ledger.holds h
  where h.status = 'posted' and h.posted_minor is distinct from (
    select sum(case when t.debit = h.account_id then t.minor else -t.minor end)
    from ledger.transfers t where t.entry_key = h.entry_key and h.account_id in (t.debit, t.credit))
)
select
  (select coalesce(jsonb_agg(c order by currency), '[]') from (
     select currency, count(*) as accounts, sum(posted) as total, sum(abs(posted - moved)) as drift
     from book where known group by currency) c) as currencies,
  (select coalesce(jsonb_agg(c order by code, currency), '[]') from (
     select code, currency, count(*) as accounts, sum(posted) as posted, sum(held) as held
     from book where known group by code, currency) c) as codes,
  (select count(*) filter (where not orphaned) from entries) as entries,
  (select coalesce(sum(transfers), 0)::bigint from entries) as transfers,
  jsonb_build_object(
    'accounts_adrift',      (select count(*) from book where known and posted <> moved),
    'accounts_below_floor', (select count(*) from book where known and balance - held < floor),
    'accounts_held_adrift', (select count(*) from book where known and held <> pending),
    'accounts_irregular',   (select count(*) from regular where irregular),
    'accounts_missing',     (select count(*) from book where not known),
    'entries_empty',        (select count(*) from entries where empty),
    'entries_altered',      (select count(*) from entries where altered),
    'transfers_orphaned',   (select coalesce(sum(transfers), 0) from entries where orphaned),
    'transfers_crossing',   (select n from crossing),
    'holds_altered',        (select n from altered_holds),
    'statements_adrift',    (select count(*) from book where misstated)
  ) as faults;

-- name: sum_codes
-- One statement, one snapshot: a fold moves balance and slips at once.
with slips as (
  select account_id as id, sum(minor) as minor from ledger.slips group by 1
)
select a.code, a.currency, count(*) as accounts,
       (sum(a.balance) + coalesce(sum(slips.minor), 0))::bigint as posted, sum(a.held)::bigint as held
from ledger.accounts a left join slips using (id)
group by a.code, a.currency order by a.code, a.currency;
