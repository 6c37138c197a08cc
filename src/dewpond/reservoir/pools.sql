-- name: list_pools
select merchant_id from reservoir.pools
where person_id = %(person_id)s
  and (%(before_at)s::timestamptz is null or (first_seen_at, merchant_id) < (%(before_at)s, %(before_id)s::uuid))
order by first_seen_at desc, merchant_id desc limit %(most)s;

-- name: list_contacts_of
-- A person's rows in several merchants' pools: each is asked for by its whole key, wherever it lies.
select merchant_id, person_id, app_id, first_seen_at, last_seen_at
from reservoir.contacts where merchant_id = any(%(merchant_ids)s::uuid[]) and person_id = %(person_id)s
order by first_seen_at desc, merchant_id desc;
