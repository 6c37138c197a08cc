-- name: list_contacts
select merchant_id, person_id, app_id, first_seen_at, last_seen_at
from reservoir.contacts
where merchant_id = %(merchant_id)s
  and (%(before_at)s::timestamptz is null or (last_seen_at, person_id) < (%(before_at)s, %(before_id)s::uuid))
order by last_seen_at desc, person_id desc limit %(most)s;

-- name: find_contact
select merchant_id, person_id, app_id, first_seen_at, last_seen_at
from reservoir.contacts where merchant_id = %(merchant_id)s and person_id = %(person_id)s;

-- name: list_spendings
select person_id, currency, purchases, spent_minor, refunds, refunded_minor, first_bought_at, last_bought_at
from reservoir.spendings
where merchant_id = %(merchant_id)s and person_id = any(%(person_ids)s::uuid[])
order by person_id, currency;

-- name: count_contacts
select count(*) as people,
       count(*) filter (where exists (
         select from reservoir.spendings s
         where s.merchant_id = c.merchant_id and s.person_id = c.person_id
         group by s.merchant_id, s.person_id having sum(s.purchases) > 1)) as returning
from reservoir.contacts c where merchant_id = %(merchant_id)s;

-- name: sum_spendings
select currency, count(*) filter (where purchases > 0) as buyers, sum(purchases)::bigint as purchases,
       sum(spent_minor)::bigint as spent_minor, sum(refunds)::bigint as refunds,
       sum(refunded_minor)::bigint as refunded_minor
from reservoir.spendings where merchant_id = %(merchant_id)s
group by currency order by currency;
