-- name: newest_authority
select serial, pem, sealed_key from merchants.authorities order by created_at desc limit 1;

-- name: create_authority
insert into merchants.authorities (serial, pem, sealed_key, created_at)
values (%(serial)s, %(pem)s, %(sealed_key)s, %(created_at)s);

-- name: create_platform_key
insert into merchants.platform_keys (id, merchant_id, certificate, public_key, sealed_key, not_before, not_after, created_at)
values (%(id)s, %(merchant_id)s, %(certificate)s, %(public_key)s, %(sealed_key)s, %(not_before)s, %(not_after)s, %(created_at)s);

-- name: lock_platform
-- Two processes that start at once must make one authority.
select pg_advisory_xact_lock(7401, 2);

-- name: platform_certificates
-- Newest first: what is encrypted for us uses the certificate that became valid last.
select id, certificate, public_key, sealed_key, not_before, not_after from merchants.platform_keys
where merchant_id is null and not_before <= %(wall_now)s and not_after > %(wall_now)s
order by not_before desc, created_at desc, id;

-- name: platform_key
select id, certificate, public_key, sealed_key, not_before, not_after
from merchants.choose_platform_key(%(merchant_id)s, %(key_mode)s, %(key_id)s, %(wall_now)s);

-- name: create_api_key
insert into merchants.api_keys (merchant_id, sealed, created_at)
values (%(merchant_id)s, %(sealed)s, %(created_at)s)
on conflict (merchant_id) do update set sealed = excluded.sealed, created_at = excluded.created_at;

-- name: get_api_key
select sealed from merchants.api_keys where merchant_id = %(merchant_id)s;

-- name: find_api_key_age
select created_at from merchants.api_keys where merchant_id = %(merchant_id)s;

-- name: lock_api_key
select created_at from merchants.api_keys where merchant_id = %(merchant_id)s for update;
