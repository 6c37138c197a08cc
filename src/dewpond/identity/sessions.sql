-- name: open_session
insert into identity.sessions
  (holder_id, id, realm, secret_hash, how, device, address, created_at, seen_at, expires_at, proven_at)
values
  (%(holder_id)s, %(id)s, %(realm)s, %(secret_hash)s, %(how)s, %(device)s, %(address)s, %(created_at)s,
   %(created_at)s, %(expires_at)s, %(proven_at)s);

-- name: find_sessions
-- Whether the secret is the right one is compared by who asked, in constant time.
select s.holder_id, s.id, s.realm, s.secret_hash, s.created_at, s.seen_at, s.expires_at, s.proven_at, s.device,
       s.address, s.how
from unnest(%(holder_ids)s::uuid[], %(ids)s::uuid[]) as u(holder_id, id)
join identity.sessions s on s.holder_id = u.holder_id and s.id = u.id
where s.realm = %(realm)s and s.ended_at is null and s.expires_at > %(wall_now)s;

-- name: ended_among
-- Asked often and for many: nothing comes back of those that go on.
select u.id from unnest(%(holder_ids)s::uuid[], %(ids)s::uuid[]) as u(holder_id, id)
where not exists (
  select from identity.sessions s
  where s.holder_id = u.holder_id and s.id = u.id and s.realm = %(realm)s and s.ended_at is null
    and s.expires_at > %(wall_now)s
);

-- name: touch_sessions
-- Never backwards, whatever another machine's clock says, and never what has ended. Locked in the order of the key, so
-- that two servers that touch the same ones cannot wait for each other.
with held as (
  select s.holder_id, s.id, u.expires_at
  from unnest(%(holder_ids)s::uuid[], %(ids)s::uuid[], %(expires_at)s::timestamptz[]) as u(holder_id, id, expires_at)
  join identity.sessions s on s.holder_id = u.holder_id and s.id = u.id
  where s.ended_at is null and s.expires_at > %(seen_at)s and s.seen_at < %(seen_at)s
  order by s.holder_id, s.id for no key update of s
)
update identity.sessions s set seen_at = %(seen_at)s, expires_at = held.expires_at
from held where s.holder_id = held.holder_id and s.id = held.id
returning s.id;

-- name: prove_session
update identity.sessions set proven_at = %(wall_now)s
where holder_id = %(holder_id)s and id = %(id)s and ended_at is null and expires_at > %(wall_now)s;

-- name: list_sessions
select holder_id, id, realm, created_at, seen_at, expires_at, proven_at, device, address, how
from identity.sessions
where holder_id = %(holder_id)s and realm = %(realm)s and ended_at is null and expires_at > %(wall_now)s
order by seen_at desc, id desc;

-- name: end_session
update identity.sessions set ended_at = %(wall_now)s
where holder_id = %(holder_id)s and id = %(id)s and realm = %(realm)s and ended_at is null
  and expires_at > %(wall_now)s;

-- name: end_sessions
-- In the order of id, so that two who end everything at once cannot wait for each other.
update identity.sessions set ended_at = %(wall_now)s
where holder_id = %(holder_id)s and id in (
  select id from identity.sessions
  where holder_id = %(holder_id)s and realm = %(realm)s and ended_at is null and expires_at > %(wall_now)s
    and id is distinct from %(but)s::uuid
  order by id for no key update
);
