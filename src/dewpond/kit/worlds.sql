-- name: create_world
insert into kit.worlds (id, kind, created_at, public_url)
values (%(id)s, %(kind)s, %(created_at)s, %(public_url)s)
on conflict do nothing;

-- name: find_world
select id, kind, created_at, public_url, clock_offset, frozen_at from kit.worlds;

-- name: lock_world
select id, kind, created_at, public_url, clock_offset, frozen_at from kit.worlds for no key update;

-- name: set_public_url
update kit.worlds set public_url = %(public_url)s where public_url <> %(public_url)s;

-- name: set_clock
update kit.worlds set clock_offset = %(clock_offset)s, frozen_at = %(frozen_at)s;

-- name: server_durability
select current_setting('fsync') = 'on' and current_setting('synchronous_commit') <> 'off' as durable;
