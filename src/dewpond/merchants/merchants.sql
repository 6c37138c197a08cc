-- name: create_merchant
insert into merchants.merchants (id, number, name, fee_rate_bp, key_mode, created_at)
values (%(id)s, %(number)s, %(name)s, %(fee_rate_bp)s, %(key_mode)s, %(created_at)s)
on conflict (number) do nothing;

-- name: get_merchant
select id, number, name, fee_rate_bp, key_mode, created_at from merchants.merchants where id = %(id)s;

-- name: list_merchants
select id, number, name, fee_rate_bp, key_mode, created_at from merchants.merchants order by created_at, id;

-- name: find_merchants
select id, number, name, fee_rate_bp, key_mode, created_at from merchants.merchants
where name = %(text)s or number = %(text)s order by created_at desc, id desc;

-- name: set_key_mode
update merchants.merchants set key_mode = %(key_mode)s where id = %(id)s;

-- name: create_app
insert into merchants.apps (id, merchant_id, appid, name, created_at)
values (%(id)s, %(merchant_id)s, %(appid)s, %(name)s, %(created_at)s);

-- name: list_apps
select id, merchant_id, appid, name from merchants.apps where id = any(%(ids)s::uuid[]);

-- name: apps_of
select id, merchant_id, appid, name from merchants.apps where merchant_id = %(merchant_id)s order by created_at, id;
