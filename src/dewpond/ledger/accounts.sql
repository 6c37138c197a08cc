-- name: open_accounts
select ledger.open_accounts(%(ids)s::uuid[], %(owners)s::uuid[], %(codes)s::text[], %(currencies)s::text[],
                            %(opened_at)s::timestamptz);

-- name: get_balance
-- Balance and slips in one statement: a fold moves both at once, so the sum is exact at any moment.
select a.id as account_id, a.owner_id, a.code, a.currency,
       a.balance + s.minor as posted, a.held, a.balance + s.minor - a.held as available
from ledger.accounts a,
lateral (select coalesce(sum(minor), 0)::bigint as minor from ledger.slips where account_id = a.id) s
where a.id = %(account_id)s::uuid;

-- name: list_balances
select a.id as account_id, a.owner_id, a.code, a.currency,
       a.balance + s.minor as posted, a.held, a.balance + s.minor - a.held as available
from ledger.accounts a,
lateral (select coalesce(sum(minor), 0)::bigint as minor from ledger.slips where account_id = a.id) s
where a.owner_id = %(owner_id)s::uuid
order by a.code, a.currency;

-- name: fold
select ledger.fold(%(most)s::int);
