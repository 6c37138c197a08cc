-- name: recognise
-- Who calls, in which world, their app and what to sign the answer with: one look for many requests at once.
select u.place, m.id as merchant_id, m.number, m.fee_rate_bp,
       c.pem, c.not_before, c.not_after, c.revoked_at,
       w.id as world_id, w.kind as world_kind, w.created_at as world_created_at,
       w.clock_offset, w.frozen_at, w.public_url, a.id as app_id,
       k.id as key_id, k.certificate, k.public_key, k.sealed_key,
       k.not_before as key_not_before, k.not_after as key_not_after
from unnest(%(numbers)s::text[], %(serials)s::text[], %(key_ids)s::text[], %(appids)s::text[])
     with ordinality as u(number, serial, key_id, appid, place)
cross join kit.worlds w
join merchants.merchants m on m.number = u.number
left join merchants.certificates c on c.merchant_id = m.id and c.serial = u.serial
left join merchants.apps a on a.merchant_id = m.id and a.appid = u.appid
cross join lateral merchants.choose_platform_key(m.id, m.key_mode, u.key_id, %(wall_now)s) k;
