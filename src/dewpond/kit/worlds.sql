-- name: create_world
insert into kit.worlds (id, kind, created_at, wire_url, public_url, staff_url)
values (%(id)s, %(kind)s, %(created_at)s, %(wire_url)s, %(public_url)s, %(staff_url)s)
on conflict do nothing;

-- name: find_world
select id, kind, created_at, wire_url, public_url, staff_url, clock_offset, frozen_at from kit.worlds;

-- name: lock_world
select id, kind, created_at, wire_url, public_url, staff_url, clock_offset, frozen_at from kit.worlds for no key update;

-- name: set_doors
update kit.worlds set wire_url = %(wire_url)s, public_url = %(public_url)s, staff_url = %(staff_url)s
where (wire_url, public_url, staff_url) <> (%(wire_url)s, %(public_url)s, %(staff_url)s);

-- name: set_clock
update kit.worlds set clock_offset = %(clock_offset)s, frozen_at = %(frozen_at)s;

-- name: server_durability
select current_setting('fsync') = 'on' and current_setting('synchronous_commit') <> 'off' as durable;

-- name: read_server
select current_setting('server_version') as version, current_setting('fsync') as fsync,
       current_setting('synchronous_commit') as synchronous_commit, pg_database_size(current_database()) as bytes;
