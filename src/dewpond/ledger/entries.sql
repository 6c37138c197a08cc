-- name: post
select ledger.post(%(keys)s::uuid[], %(contents)s::uuid[], %(occurred_at)s::timestamptz[],
                   %(recorded_at)s::timestamptz, %(entry)s::int[], %(debit)s::uuid[], %(credit)s::uuid[],
                   %(minor)s::bigint[], %(currency)s::text[]);

-- name: post_one
select ledger.post_one(%(key)s::uuid, %(content)s::uuid, %(occurred_at)s::timestamptz, %(recorded_at)s::timestamptz,
                       %(debit)s::uuid[], %(credit)s::uuid[], %(minor)s::bigint[], %(currency)s::text[],
                       %(hold)s::uuid);

-- name: reverse
select ledger.reverse(%(entry)s::uuid, %(key)s::uuid, %(occurred_at)s::timestamptz, %(recorded_at)s::timestamptz);

-- name: walk
select e.key, e.occurred_at, e.recorded_at, r.key as reversed_by, t.n, t.minor, t.currency,
       t.debit, d.owner_id as debit_owner_id, d.code as debit_code,
       t.credit, c.owner_id as credit_owner_id, c.code as credit_code
from unnest(%(keys)s::uuid[]) with ordinality asked (key, place)
join ledger.entries e on e.key = asked.key
join ledger.transfers t on t.entry_key = e.key
join ledger.accounts d on d.id = t.debit
join ledger.accounts c on c.id = t.credit
left join ledger.reversals r on r.entry_key = e.key
order by asked.place, t.n;
