-- name: sum_takings
select merchant_id, date_trunc(%(unit)s, hour, 'Asia/Shanghai') as begins_at, currency,
       sum(payments)::bigint as payments, sum(minor)::bigint as minor,
       sum(refunds)::bigint as refunds, sum(refunded_minor)::bigint as refunded_minor
from reservoir.takings
where merchant_id = any(%(merchant_ids)s::uuid[]) and hour >= %(begins_at)s and hour < %(ends_at)s
group by merchant_id, begins_at, currency order by merchant_id, begins_at, currency;

-- name: sum_arrivals
select merchant_id, date_trunc(%(unit)s, hour, 'Asia/Shanghai') as begins_at,
       sum(new_contacts)::bigint as new_contacts
from reservoir.arrivals
where merchant_id = any(%(merchant_ids)s::uuid[]) and hour >= %(begins_at)s and hour < %(ends_at)s
group by merchant_id, begins_at;

-- name: sum_day
select currency, sum(payments)::bigint as payments, sum(minor)::bigint as minor,
       sum(refunds)::bigint as refunds, sum(refunded_minor)::bigint as refunded_minor
from reservoir.takings where hour >= %(begins_at)s and hour < %(ends_at)s
group by currency order by currency;

-- name: list_totals
select merchant_id, currency, payments, minor, refunds, refunded_minor
from reservoir.totals where merchant_id = any(%(merchant_ids)s::uuid[])
order by merchant_id, currency;

-- name: list_headcounts
select merchant_id, people from reservoir.headcounts where merchant_id = any(%(merchant_ids)s::uuid[]);
