-- name: set_pin
insert into identity.pins (person_id, key_id, salt, value, set_at)
values (%(person_id)s, %(key_id)s, %(salt)s, %(value)s, %(set_at)s)
on conflict (person_id) do update
  set key_id = excluded.key_id, salt = excluded.salt, value = excluded.value, set_at = excluded.set_at,
      tries = 0, last_try = null, locked_until = null;

-- name: has_pin
select exists (select from identity.pins where person_id = %(person_id)s);

-- name: find_pin_state
select set_at, tries, locked_until from identity.pins where person_id = %(person_id)s;

-- name: lock_pins
-- Always in the order of person_id: the first lock of the house's order.
select person_id, key_id, salt, value, tries, last_try, locked_until from identity.pins
where person_id = any(%(person_ids)s::uuid[]) order by person_id for no key update;

-- name: record_tries
update identity.pins p set tries = u.tries, last_try = u.last_try, locked_until = u.locked_until
from unnest(%(person_ids)s::uuid[], %(tries)s::int[], %(last_tries)s::uuid[], %(locked_until)s::timestamptz[])
     as u(person_id, tries, last_try, locked_until)
where p.person_id = u.person_id;
