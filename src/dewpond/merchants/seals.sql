-- name: lock_api_keys
select merchant_id::text as place, sealed from merchants.api_keys order by merchant_id for no key update;

-- name: reseal_api_key
update merchants.api_keys set sealed = %(sealed)s where merchant_id = %(place)s::text::uuid;

-- name: lock_authorities
select serial as place, sealed_key as sealed from merchants.authorities order by serial for no key update;

-- name: reseal_authority
update merchants.authorities set sealed_key = %(sealed)s where serial = %(place)s;

-- name: lock_platform_keys
select id as place, sealed_key as sealed from merchants.platform_keys order by id for no key update;

-- name: reseal_platform_key
update merchants.platform_keys set sealed_key = %(sealed)s where id = %(place)s;
