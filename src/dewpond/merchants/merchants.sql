-- name: create_merchant
insert into merchants.merchants (id, number, name, fee_rate_bp, key_mode, created_at)
values (%(id)s, %(number)s, %(name)s, %(fee_rate_bp)s, %(key_mode)s, %(created_at)s)
on conflict do nothing;

-- name: get_merchant
select id, number, name, fee_rate_bp, key_mode, created_at from merchants.merchants where id = %(id)s;

-- name: list_merchants
select id, number, name, fee_rate_bp, key_mode, created_at from merchants.merchants
where %(ids)s::uuid[] is null or id = any(%(ids)s) order by created_at, id;

-- name: list_newest
select id, number, name, fee_rate_bp, key_mode, created_at from merchants.merchants
where (%(text)s = '' or strpos(lower(name), lower(%(text)s)) > 0 or strpos(number, %(text)s) > 0)
  and (%(before_at)s::timestamptz is null or (created_at, id) < (%(before_at)s, %(before_id)s::uuid))
order by created_at desc, id desc limit %(most)s;

-- name: count_merchants
select count(*) from merchants.merchants;

-- name: find_merchants
select id, number, name, fee_rate_bp, key_mode, created_at from merchants.merchants
where name = %(text)s or number = %(text)s order by created_at desc, id desc;

-- name: find_merchant_by_number
select id, number, name, fee_rate_bp, key_mode, created_at from merchants.merchants where number = %(number)s;

-- name: set_key_mode
update merchants.merchants set key_mode = %(key_mode)s where id = %(id)s;

-- name: create_app
insert into merchants.apps (id, merchant_id, appid, name, created_at)
values (%(id)s, %(merchant_id)s, %(appid)s, %(name)s, %(created_at)s);

-- name: list_apps
select id, merchant_id, appid, name from merchants.apps where id = any(%(ids)s::uuid[]);

-- name: apps_of
select id, merchant_id, appid, name from merchants.apps where merchant_id = %(merchant_id)s order by created_at, id;
