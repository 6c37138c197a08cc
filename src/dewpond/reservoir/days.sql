-- name: sum_takings
select date_trunc(%(unit)s, hour, 'Asia/Shanghai') as begins_at, currency,
       sum(payments)::bigint as payments, sum(minor)::bigint as minor,
       sum(refunds)::bigint as refunds, sum(refunded_minor)::bigint as refunded_minor
from reservoir.takings
where merchant_id = %(merchant_id)s and hour >= %(begins_at)s and hour < %(ends_at)s
group by begins_at, currency order by begins_at, currency;

-- name: sum_arrivals
select date_trunc(%(unit)s, hour, 'Asia/Shanghai') as begins_at, sum(new_contacts)::bigint as new_contacts
from reservoir.arrivals
where merchant_id = %(merchant_id)s and hour >= %(begins_at)s and hour < %(ends_at)s
group by begins_at;

-- name: count_people
select coalesce(sum(new_contacts), 0)::bigint as people from reservoir.arrivals where merchant_id = %(merchant_id)s;

-- name: sum_day
select currency, sum(payments)::bigint as payments, sum(minor)::bigint as minor,
       sum(refunds)::bigint as refunds, sum(refunded_minor)::bigint as refunded_minor
from reservoir.takings where hour >= %(begins_at)s and hour < %(ends_at)s
group by currency order by currency;

-- name: sum_merchant
select currency, sum(payments)::bigint as payments, sum(minor)::bigint as minor,
       sum(refunds)::bigint as refunds, sum(refunded_minor)::bigint as refunded_minor
from reservoir.takings where merchant_id = %(merchant_id)s
group by currency order by currency;
