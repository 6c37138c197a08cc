-- name: list_contacts
select merchant_id, person_id, app_id, first_seen_at, last_seen_at
from reservoir.contacts
where merchant_id = %(merchant_id)s
  and (%(before_at)s::timestamptz is null or (last_seen_at, person_id) < (%(before_at)s, %(before_id)s::uuid))
order by last_seen_at desc, person_id desc limit %(most)s;

-- name: find_contact
select merchant_id, person_id, app_id, first_seen_at, last_seen_at
from reservoir.contacts where merchant_id = %(merchant_id)s and person_id = %(person_id)s;

-- name: list_contacts_among
select c.merchant_id, c.person_id, c.app_id, c.first_seen_at, c.last_seen_at
from unnest(%(merchant_ids)s::uuid[], %(person_ids)s::uuid[]) as u(merchant_id, person_id)
join reservoir.contacts c using (merchant_id, person_id)
order by c.last_seen_at desc, c.person_id desc;

-- name: list_contacts_by_first_seen
select merchant_id, person_id, app_id, first_seen_at, last_seen_at
from reservoir.contacts
where merchant_id = %(merchant_id)s
  and (%(before_at)s::timestamptz is null or (first_seen_at, person_id) < (%(before_at)s, %(before_id)s::uuid))
order by first_seen_at desc, person_id desc limit %(most)s;

-- name: list_contacts_by_spending
-- The page is cut before contacts are looked up: there is one for every spending.
select c.merchant_id, c.person_id, c.app_id, c.first_seen_at, c.last_seen_at
from (
  select merchant_id, person_id, much
  from (select merchant_id, person_id,
               case when %(by_purchases)s then purchases else spent_minor - refunded_minor end as much
        from reservoir.spendings where merchant_id = %(merchant_id)s and currency = %(currency)s) each
  where %(before)s::bigint is null or (much, person_id) < (%(before)s, %(before_id)s::uuid)
  order by much desc, person_id desc limit %(most)s
) s
join reservoir.contacts c on c.merchant_id = s.merchant_id and c.person_id = s.person_id
order by s.much desc, s.person_id desc;

-- name: list_spendings
select s.merchant_id, s.person_id, s.currency, s.purchases, s.spent_minor, s.refunds, s.refunded_minor,
       s.first_bought_at, s.last_bought_at
from unnest(%(merchant_ids)s::uuid[], %(person_ids)s::uuid[]) as u(merchant_id, person_id)
join reservoir.spendings s using (merchant_id, person_id)
order by s.merchant_id, s.person_id, s.currency;

-- name: count_contacts
select (select count(*) from reservoir.contacts where merchant_id = %(merchant_id)s) as people,
       (select count(*) from (
          select from reservoir.spendings where merchant_id = %(merchant_id)s
          group by person_id having sum(purchases) > 1) again) as returning;

-- name: count_returning
select merchant_id, count(*) as people from (
  select merchant_id from reservoir.spendings where merchant_id = any(%(merchant_ids)s::uuid[])
  group by merchant_id, person_id having sum(purchases) > 1) again
group by merchant_id;

-- name: sum_spendings
select currency, count(*) filter (where purchases > 0) as buyers, sum(purchases)::bigint as purchases,
       sum(spent_minor)::bigint as spent_minor, sum(refunds)::bigint as refunds,
       sum(refunded_minor)::bigint as refunded_minor
from reservoir.spendings where merchant_id = %(merchant_id)s
group by currency order by currency;
