-- name: invite
-- Who made a link may have used it: a later one from the terminal does not wash that off.
insert into merchants.invitations as held (staff_id, token_hash, created_at, expires_at, invited_by)
values (%(staff_id)s, %(token_hash)s, %(created_at)s, %(expires_at)s, %(invited_by)s)
on conflict (staff_id) do update
  set token_hash = excluded.token_hash, created_at = excluded.created_at, expires_at = excluded.expires_at,
      redeemed_at = null, invited_by = coalesce(excluded.invited_by, held.invited_by);

-- name: find_invited
select s.id, s.sign_in_name, s.name, s.is_operator, s.created_at, s.ended_at, s.invited_by
from merchants.invitations i join merchants.staff s on s.id = i.staff_id
where i.token_hash = %(token_hash)s and i.redeemed_at is null and i.expires_at > %(wall_now)s and s.ended_at is null;

-- name: lock_invited
-- The account before its invitation, as everybody does who touches both.
select s.id, s.sign_in_name, s.name, s.is_operator, s.created_at, s.ended_at, s.invited_by
from merchants.invitations i join merchants.staff s on s.id = i.staff_id
where i.token_hash = %(token_hash)s and s.ended_at is null for no key update of s;

-- name: redeem
update merchants.invitations set redeemed_at = %(wall_now)s
where token_hash = %(token_hash)s and redeemed_at is null and expires_at > %(wall_now)s;

-- name: void_invitation
-- Past for every clock. It was not redeemed: since when the account is in use stays what it was.
update merchants.invitations set expires_at = '-infinity' where staff_id = %(staff_id)s and redeemed_at is null;

-- name: list_arrivals
-- Since when an account is in use: since its last link was, where it has come to that.
select s.id as staff_id, s.invited_by, i.invited_by as let_in_by, coalesce(i.redeemed_at, s.created_at) as since
from merchants.staff s left join merchants.invitations i on i.staff_id = s.id where s.id = any(%(ids)s::uuid[]);

-- name: list_kin
-- Up every chain of invitations to its end, the root, and down again by all operators who were let in on the way. Also
-- those whose time has ended: neither a chain nor a sum that was put in ends with somebody's time. `union` takes each
-- account once: there are no more steps than operators, also where links should go round in a circle.
with recursive above (id) as (
  select %(staff_id)s::uuid
  union
  select host.id
  from above
  join merchants.staff s on s.id = above.id
  left join merchants.invitations i on i.staff_id = s.id
  cross join lateral (values (s.invited_by), (i.invited_by)) as host (id)
  where host.id is not null
), kin (id) as (
  select id from above
  union
  select guest.id
  from kin
  cross join lateral (
    select s.id from merchants.staff s where s.invited_by = kin.id and s.is_operator
    union all
    select s.id from merchants.invitations i join merchants.staff s on s.id = i.staff_id
    where i.invited_by = kin.id and s.is_operator
  ) as guest
)
select id from kin;
