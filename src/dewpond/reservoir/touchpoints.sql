-- name: record_purchases
-- Only what is fresh counts, so a fact may come any number of times, alone or in any company. Contacts and spendings
-- are touched in the order of their keys, here and for refunds, so that two writers never wait crosswise. A refund may
-- be read before its purchase: every figure is the same whichever comes first.
with given as (
  select * from unnest(%(merchant_ids)s::uuid[], %(fact_ids)s::uuid[], %(person_ids)s::uuid[], %(app_ids)s::uuid[],
                       %(payment_ids)s::uuid[], %(minors)s::bigint[], %(currencies)s::text[],
                       %(occurred_at)s::timestamptz[])
       as u(merchant_id, fact_id, person_id, app_id, payment_id, minor, currency, occurred_at)
), fresh as (
  insert into reservoir.touchpoints (merchant_id, fact_id, person_id, app_id, kind, payment_id, minor, currency, occurred_at)
  select merchant_id, fact_id, person_id, app_id, 'purchase', payment_id, minor, currency, occurred_at
  from given order by merchant_id, fact_id
  on conflict do nothing
  returning *
), met as (
  insert into reservoir.contacts as contact (merchant_id, person_id, app_id, first_seen_at, last_seen_at)
  select merchant_id, person_id, (array_agg(app_id order by occurred_at, fact_id))[1], min(occurred_at), max(occurred_at)
  from fresh group by merchant_id, person_id order by merchant_id, person_id
  on conflict (merchant_id, person_id) do update
    set app_id = case when excluded.first_seen_at < contact.first_seen_at then excluded.app_id else contact.app_id end,
        first_seen_at = least(contact.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(contact.last_seen_at, excluded.last_seen_at)
)
insert into reservoir.spendings as spending
  (merchant_id, person_id, currency, purchases, spent_minor, first_bought_at, last_bought_at)
select merchant_id, person_id, currency, count(*), sum(minor), min(occurred_at), max(occurred_at)
from fresh group by merchant_id, person_id, currency order by merchant_id, person_id, currency
on conflict (merchant_id, person_id, currency) do update
  set purchases = spending.purchases + excluded.purchases,
      spent_minor = spending.spent_minor + excluded.spent_minor,
      first_bought_at = least(spending.first_bought_at, excluded.first_bought_at),
      last_bought_at = greatest(spending.last_bought_at, excluded.last_bought_at);

-- name: record_refunds
with given as (
  select * from unnest(%(merchant_ids)s::uuid[], %(fact_ids)s::uuid[], %(person_ids)s::uuid[], %(app_ids)s::uuid[],
                       %(payment_ids)s::uuid[], %(minors)s::bigint[], %(currencies)s::text[],
                       %(occurred_at)s::timestamptz[])
       as u(merchant_id, fact_id, person_id, app_id, payment_id, minor, currency, occurred_at)
), fresh as (
  insert into reservoir.touchpoints (merchant_id, fact_id, person_id, app_id, kind, payment_id, minor, currency, occurred_at)
  select merchant_id, fact_id, person_id, app_id, 'refund', payment_id, minor, currency, occurred_at
  from given order by merchant_id, fact_id
  on conflict do nothing
  returning *
), met as (
  insert into reservoir.contacts as contact (merchant_id, person_id, app_id, first_seen_at, last_seen_at)
  select merchant_id, person_id, (array_agg(app_id order by occurred_at, fact_id))[1], min(occurred_at), max(occurred_at)
  from fresh group by merchant_id, person_id order by merchant_id, person_id
  on conflict (merchant_id, person_id) do update
    set app_id = case when excluded.first_seen_at < contact.first_seen_at then excluded.app_id else contact.app_id end,
        first_seen_at = least(contact.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(contact.last_seen_at, excluded.last_seen_at)
)
insert into reservoir.spendings as spending (merchant_id, person_id, currency, refunds, refunded_minor)
select merchant_id, person_id, currency, count(*), sum(minor)
from fresh group by merchant_id, person_id, currency order by merchant_id, person_id, currency
on conflict (merchant_id, person_id, currency) do update
  set refunds = spending.refunds + excluded.refunds,
      refunded_minor = spending.refunded_minor + excluded.refunded_minor;

-- name: list_touchpoints
select merchant_id, fact_id, person_id, app_id, kind, payment_id, minor, currency, occurred_at
from reservoir.touchpoints
where merchant_id = %(merchant_id)s and person_id = %(person_id)s
  and (%(before_at)s::timestamptz is null or (occurred_at, fact_id) < (%(before_at)s, %(before_id)s::uuid))
order by occurred_at desc, fact_id desc limit %(most)s;
