-- name: begin_scan
insert into identity.scans
  (id, browser_hash, device, address, numbers, number, state, created_at, expires_at)
values
  (%(id)s, %(browser_hash)s, %(device)s, %(address)s, %(numbers)s, %(number)s, 'waiting', %(created_at)s,
   %(expires_at)s);

-- name: find_scan
select id, device, address, numbers, created_at, expires_at from identity.scans
where id = %(id)s and state = 'waiting' and expires_at > %(wall_now)s;

-- name: answer_scan
-- Without a number it is a no.
update identity.scans
set state = case when number = %(number)s::int then 'approved' else 'refused' end,
    person_id = case when number = %(number)s::int then %(person_id)s::uuid end
where id = %(id)s and state = 'waiting' and expires_at > %(wall_now)s
returning state;

-- name: scan_state
select state from identity.scans
where id = %(id)s and browser_hash = %(browser_hash)s and expires_at > %(wall_now)s;

-- name: redeem_scan
delete from identity.scans
where id = %(id)s and browser_hash = %(browser_hash)s and state = 'approved' and expires_at > %(wall_now)s
returning person_id;
