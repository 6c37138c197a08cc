-- name: get_limits
select person_id, currency, per_payment_minor, per_day_minor, without_pin_minor
from pay.limits where person_id = %(person_id)s and currency = %(currency)s;

-- name: set_limits
insert into pay.limits (person_id, currency, per_payment_minor, per_day_minor, without_pin_minor, set_at)
values (%(person_id)s, %(currency)s, %(per_payment_minor)s, %(per_day_minor)s, %(without_pin_minor)s, %(set_at)s)
on conflict (person_id, currency) do update
  set per_payment_minor = excluded.per_payment_minor, per_day_minor = excluded.per_day_minor,
      without_pin_minor = excluded.without_pin_minor, set_at = excluded.set_at;

-- name: lock_limits
-- Always in one order, so that two batches can never wait for each other. Most people have no row, and most batches
-- find none.
select person_id, currency, per_payment_minor, per_day_minor, without_pin_minor from pay.limits
where person_id = any(%(person_ids)s::uuid[]) order by person_id, currency for no key update;

-- name: list_spent
-- By itself and after the lock: a statement sees what was committed before it began, so nothing of another phone's
-- payment is missed.
select u.person_id, u.currency, u.since,
       coalesce(sum(-m.minor), 0)::bigint as paid_minor,
       coalesce(sum(-m.minor) filter (where m.proof = 'small_sum'), 0)::bigint as without_pin_minor
from unnest(%(person_ids)s::uuid[], %(currencies)s::text[], %(since)s::timestamptz[], %(until)s::timestamptz[])
     as u(person_id, currency, since, until)
left join pay.movements m on m.person_id = u.person_id and m.currency = u.currency and m.kind = 'payment'
                         and m.occurred_at >= u.since and m.occurred_at < u.until
group by u.person_id, u.currency, u.since;
