-- name: lines_before
-- Written lines by their key, and whatever is still unlisted; a move from one to the other is one transaction.
select l.account_id, l.occurred_at, l.entry_key, l.n, l.minor, a.currency,
       l.other_id, o.owner_id as other_owner_id, o.code as other_code
from (
  (select * from ledger.statement_lines
   where account_id = %(account_id)s::uuid
     and (occurred_at, entry_key, n) < (coalesce(%(occurred_at)s::timestamptz, 'infinity'),
                                        coalesce(%(entry_key)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
                                        coalesce(%(n)s::smallint, 0))
   order by occurred_at desc, entry_key desc, n desc limit %(most)s::int)
  union all
  (select %(account_id)s::uuid, e.occurred_at, t.entry_key, t.n,
          case when t.debit = %(account_id)s::uuid then -t.minor else t.minor end,
          case when t.debit = %(account_id)s::uuid then t.credit else t.debit end
   from ledger.unlisted u, unnest(u.keys) waiting (key)
   join ledger.transfers t on t.entry_key = waiting.key
   join ledger.entries e on e.key = waiting.key
   where %(account_id)s::uuid in (t.debit, t.credit)
     and (e.occurred_at, e.key, t.n) < (coalesce(%(occurred_at)s::timestamptz, 'infinity'),
                                        coalesce(%(entry_key)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
                                        coalesce(%(n)s::smallint, 0)))
  order by occurred_at desc, entry_key desc, n desc limit %(most)s::int
) l
join ledger.accounts a on a.id = l.account_id
join ledger.accounts o on o.id = l.other_id
order by l.occurred_at desc, l.entry_key desc, l.n desc;

-- name: lines_after
-- The same the other way round.
select l.account_id, l.occurred_at, l.entry_key, l.n, l.minor, a.currency,
       l.other_id, o.owner_id as other_owner_id, o.code as other_code
from (
  (select * from ledger.statement_lines
   where account_id = %(account_id)s::uuid
     and (occurred_at, entry_key, n) > (%(occurred_at)s::timestamptz, %(entry_key)s::uuid, %(n)s::smallint)
   order by occurred_at, entry_key, n limit %(most)s::int)
  union all
  (select %(account_id)s::uuid, e.occurred_at, t.entry_key, t.n,
          case when t.debit = %(account_id)s::uuid then -t.minor else t.minor end,
          case when t.debit = %(account_id)s::uuid then t.credit else t.debit end
   from ledger.unlisted u, unnest(u.keys) waiting (key)
   join ledger.transfers t on t.entry_key = waiting.key
   join ledger.entries e on e.key = waiting.key
   where %(account_id)s::uuid in (t.debit, t.credit)
     and (e.occurred_at, e.key, t.n) > (%(occurred_at)s::timestamptz, %(entry_key)s::uuid, %(n)s::smallint))
  order by occurred_at, entry_key, n limit %(most)s::int
) l
join ledger.accounts a on a.id = l.account_id
join ledger.accounts o on o.id = l.other_id
order by l.occurred_at, l.entry_key, l.n;

-- name: write_statements
select ledger.write_statements(%(most)s::int);
