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

-- name: count_people
select merchant_id, sum(new_contacts)::bigint as people
from reservoir.arrivals where merchant_id = any(%(merchant_ids)s::uuid[])
group by merchant_id;

-- name: sum_day
select currency, sum(payments)::bigint as payments, sum(minor)::bigint as minor,
       sum(refunds)::bigint as refunds, sum(refunded_minor)::bigint as refunded_minor
from reservoir.takings where hour >= %(begins_at)s and hour < %(ends_at)s
group by currency order by currency;

-- name: sum_merchants
select merchant_id, currency, sum(payments)::bigint as payments, sum(minor)::bigint as minor,
       sum(refunds)::bigint as refunds, sum(refunded_minor)::bigint as refunded_minor
from reservoir.takings where merchant_id = any(%(merchant_ids)s::uuid[])
group by merchant_id, currency order by merchant_id, currency;
