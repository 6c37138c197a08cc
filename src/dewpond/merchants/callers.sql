-- name: recognise
-- Who calls, the world's clock, their app and what to sign the answer with: one look for many requests at once.
-- The key is the named one if it is the world's or this merchant's, otherwise the one the merchant's mode asks for.
select u.place, m.id as merchant_id, m.number, m.fee_rate_bp, m.key_mode,
       c.serial, c.pem, c.not_before, c.not_after, c.revoked_at,
       w.kind as world_kind, w.clock_offset, w.frozen_at, w.public_url, a.id as app_id,
       k.id as key_id, k.certificate, k.public_key, k.sealed_key,
       k.not_before as key_not_before, k.not_after as key_not_after
from unnest(%(numbers)s::text[], %(serials)s::text[], %(key_ids)s::text[], %(appids)s::text[])
     with ordinality as u(number, serial, key_id, appid, place)
cross join kit.worlds w
join merchants.merchants m on m.number = u.number
left join merchants.certificates c on c.merchant_id = m.id and c.serial = u.serial
left join merchants.apps a on a.merchant_id = m.id and a.appid = u.appid
cross join lateral (
  select p.id, p.certificate, p.public_key, p.sealed_key, p.not_before, p.not_after
  from (
    select * from merchants.platform_keys where merchant_id = m.id
    union all
    select * from merchants.platform_keys where merchant_id is null
  ) p
  where p.not_before <= %(wall_now)s and (p.not_after is null or p.not_after > %(wall_now)s)
  order by (p.id = u.key_id) desc,
           ((p.merchant_id is not null) = (starts_with(u.key_id, 'PUB_KEY_ID_') or u.key_id = '' and m.key_mode = 'public_key')) desc,
           p.not_before desc, p.created_at desc, p.id
  limit 1
) k;
