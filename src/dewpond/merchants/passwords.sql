-- name: set_password
insert into merchants.passwords (staff_id, hash, set_at) values (%(staff_id)s, %(hash)s, %(set_at)s)
on conflict (staff_id) do update set hash = excluded.hash, set_at = excluded.set_at;

-- name: renew_hash
-- The same password at today's cost, unless another was set meanwhile.
update merchants.passwords set hash = %(hash)s where staff_id = %(staff_id)s and hash = %(before)s;

-- name: find_hash
select hash from merchants.passwords where staff_id = %(staff_id)s;

-- name: find_password
select s.id, p.hash, p.set_at from merchants.staff s left join merchants.passwords p on p.staff_id = s.id
where s.sign_in_name = %(sign_in_name)s and s.ended_at is null;

-- name: spend_try
-- The lock is set with the last try, before that is compared. No row: it is locked, and nothing was counted.
insert into merchants.sign_in_tries as held (bucket, tries) values (%(bucket)s, 1)
on conflict (bucket) do update
  set tries = case when held.locked_until is null then held.tries + 1 else 1 end,
      locked_until = case when held.locked_until is null and held.tries + 1 = %(most)s::int then %(until)s::timestamptz end
  where held.locked_until is null or held.locked_until <= %(wall_now)s
returning locked_until;

-- name: locked_until
select locked_until from merchants.sign_in_tries where bucket = %(bucket)s;

-- name: forgive_tries
update merchants.sign_in_tries set tries = 0, locked_until = null where bucket = %(bucket)s;
