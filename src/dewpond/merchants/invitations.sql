-- name: invite
insert into merchants.invitations (staff_id, token_hash, created_at, expires_at)
values (%(staff_id)s, %(token_hash)s, %(created_at)s, %(expires_at)s)
on conflict (staff_id) do update
  set token_hash = excluded.token_hash, created_at = excluded.created_at, expires_at = excluded.expires_at,
      redeemed_at = null;

-- name: find_invited
select s.id, s.sign_in_name, s.name, s.is_operator, s.created_at, s.ended_at
from merchants.invitations i join merchants.staff s on s.id = i.staff_id
where i.token_hash = %(token_hash)s and i.redeemed_at is null and i.expires_at > %(wall_now)s and s.ended_at is null;

-- name: redeem
update merchants.invitations set redeemed_at = %(wall_now)s
where token_hash = %(token_hash)s and redeemed_at is null and expires_at > %(wall_now)s
returning staff_id;
