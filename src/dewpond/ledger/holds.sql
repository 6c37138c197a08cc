-- name: hold
select ledger.hold(%(keys)s::uuid[], %(accounts)s::uuid[], %(minors)s::bigint[], %(currencies)s::text[],
                   %(occurred_at)s::timestamptz[], %(expires_at)s::timestamptz[], %(recorded_at)s::timestamptz);

-- name: void_hold
select ledger.void_hold(%(key)s::uuid, %(at)s::timestamptz);

-- name: expire_holds
select ledger.expire_holds(%(now)s::timestamptz, %(most)s::int);

-- name: get_hold
-- Expiry is computed: the sweeper only writes it down.
select key, account_id, minor, currency, occurred_at, expires_at, posted_minor, entry_key,
       case when status = 'pending' and expires_at <= %(now)s::timestamptz then 'expired' else status end as status,
       case when status = 'pending' and expires_at <= %(now)s::timestamptz then expires_at else ended_at end as ended_at
from ledger.holds where key = %(key)s::uuid;

-- name: list_holds
select key, account_id, minor, currency, occurred_at, expires_at, posted_minor, entry_key, status, ended_at
from ledger.holds
where account_id = %(account_id)s::uuid and status = 'pending' and (expires_at <= %(now)s::timestamptz) is not true
order by occurred_at, key limit %(most)s::int;
