-- name: record_touchpoints
-- Only what is fresh counts, so a fact may come any number of times, alone or in any company. Every figure is the same
-- whichever comes first: a refund may be read before its purchase, and moves the arrival of a person when it was.
-- Two writers never wait crosswise: purchases and refunds are this one statement, which comes to its tables in one order
-- and to the rows of each in the order of their keys.
with given as (
  select * from unnest(%(merchant_ids)s::uuid[], %(fact_ids)s::uuid[], %(person_ids)s::uuid[], %(app_ids)s::uuid[],
                       %(payment_ids)s::uuid[], %(minors)s::bigint[], %(currencies)s::text[],
                       %(occurred_at)s::timestamptz[])
       as u(merchant_id, fact_id, person_id, app_id, payment_id, minor, currency, occurred_at)
), fresh as (
  insert into reservoir.touchpoints (merchant_id, fact_id, person_id, app_id, kind, payment_id, minor, currency, occurred_at)
  select merchant_id, fact_id, person_id, app_id, %(kind)s, payment_id, minor, currency, occurred_at
  from given order by merchant_id, fact_id
  on conflict do nothing
  returning *
), totalled as (
  insert into reservoir.totals as total (merchant_id, currency, payments, minor, refunds, refunded_minor)
  select merchant_id, currency,
         count(*) filter (where kind = 'purchase'), coalesce(sum(minor) filter (where kind = 'purchase'), 0),
         count(*) filter (where kind = 'refund'), coalesce(sum(minor) filter (where kind = 'refund'), 0)
  from fresh group by merchant_id, currency order by merchant_id, currency
  on conflict (merchant_id, currency) do update
    set payments = total.payments + excluded.payments,
        minor = total.minor + excluded.minor,
        refunds = total.refunds + excluded.refunds,
        refunded_minor = total.refunded_minor + excluded.refunded_minor
), taken as (
  insert into reservoir.takings as taking (merchant_id, hour, currency, payments, minor, refunds, refunded_minor)
  select merchant_id, date_trunc('hour', occurred_at, 'Asia/Shanghai') as hour, currency,
         count(*) filter (where kind = 'purchase'), coalesce(sum(minor) filter (where kind = 'purchase'), 0),
         count(*) filter (where kind = 'refund'), coalesce(sum(minor) filter (where kind = 'refund'), 0)
  from fresh group by merchant_id, hour, currency order by merchant_id, hour, currency
  on conflict (merchant_id, hour, currency) do update
    set payments = taking.payments + excluded.payments,
        minor = taking.minor + excluded.minor,
        refunds = taking.refunds + excluded.refunds,
        refunded_minor = taking.refunded_minor + excluded.refunded_minor
), met as (
  insert into reservoir.contacts as contact (merchant_id, person_id, app_id, first_seen_at, last_seen_at)
  select merchant_id, person_id, (array_agg(app_id order by occurred_at, fact_id))[1], min(occurred_at), max(occurred_at)
  from fresh group by merchant_id, person_id order by merchant_id, person_id
  on conflict (merchant_id, person_id) do update
    set app_id = case when excluded.first_seen_at < contact.first_seen_at then excluded.app_id else contact.app_id end,
        first_seen_at = least(contact.first_seen_at, excluded.first_seen_at),
        last_seen_at = greatest(contact.last_seen_at, excluded.last_seen_at),
        was_first_seen_at = contact.first_seen_at
  returning merchant_id, person_id, first_seen_at, was_first_seen_at
), arrived as (
  select * from met where was_first_seen_at is distinct from first_seen_at
), grown as (
  insert into reservoir.headcounts as headcount (merchant_id, people)
  select merchant_id, count(*) from arrived where was_first_seen_at is null group by merchant_id order by merchant_id
  on conflict (merchant_id) do update set people = headcount.people + excluded.people
), counted as (
  insert into reservoir.arrivals as arrival (merchant_id, hour, new_contacts)
  select merchant_id, date_trunc('hour', at, 'Asia/Shanghai') as hour, sum(people)
  from (select merchant_id, first_seen_at as at, 1 as people from arrived
        union all
        select merchant_id, was_first_seen_at, -1 from arrived where was_first_seen_at is not null) moved
  group by merchant_id, hour having sum(people) <> 0 order by merchant_id, hour
  on conflict (merchant_id, hour) do update set new_contacts = arrival.new_contacts + excluded.new_contacts
), joined as (
  insert into reservoir.pools as pool (person_id, merchant_id, first_seen_at)
  select person_id, merchant_id, first_seen_at from arrived order by person_id, merchant_id
  on conflict (person_id, merchant_id) do update
    set first_seen_at = least(pool.first_seen_at, excluded.first_seen_at)
)
insert into reservoir.spendings as spending
  (merchant_id, person_id, currency, purchases, spent_minor, refunds, refunded_minor, first_bought_at, last_bought_at)
select merchant_id, person_id, currency,
       count(*) filter (where kind = 'purchase'), coalesce(sum(minor) filter (where kind = 'purchase'), 0),
       count(*) filter (where kind = 'refund'), coalesce(sum(minor) filter (where kind = 'refund'), 0),
       min(occurred_at) filter (where kind = 'purchase'), max(occurred_at) filter (where kind = 'purchase')
from fresh group by merchant_id, person_id, currency order by merchant_id, person_id, currency
on conflict (merchant_id, person_id, currency) do update
  set purchases = spending.purchases + excluded.purchases,
      spent_minor = spending.spent_minor + excluded.spent_minor,
      refunds = spending.refunds + excluded.refunds,
      refunded_minor = spending.refunded_minor + excluded.refunded_minor,
      first_bought_at = least(spending.first_bought_at, excluded.first_bought_at),
      last_bought_at = greatest(spending.last_bought_at, excluded.last_bought_at);

-- name: list_touchpoints
select merchant_id, fact_id, person_id, app_id, kind, payment_id, minor, currency, occurred_at
from reservoir.touchpoints
where merchant_id = %(merchant_id)s and person_id = %(person_id)s
  and (%(before_at)s::timestamptz is null or (occurred_at, fact_id) < (%(before_at)s, %(before_id)s::uuid))
order by occurred_at desc, fact_id desc limit %(most)s;

-- name: count_first_meetings
-- Of these facts, those that were the first a merchant ever learned of a person: fact ids are in the order of time.
select merchant_id, count(*) as people from (
  select t.merchant_id, min(t.fact_id::text) as first
  from unnest(%(merchant_ids)s::uuid[], %(person_ids)s::uuid[]) as u(merchant_id, person_id)
  join reservoir.touchpoints t using (merchant_id, person_id)
  group by t.merchant_id, t.person_id
) f where f.first::uuid = any(%(fact_ids)s::uuid[])
group by merchant_id;

-- name: list_facts_of_payment
select fact_id from reservoir.touchpoints
where merchant_id = %(merchant_id)s and person_id = %(person_id)s and payment_id = %(payment_id)s order by fact_id;
