-- name: create_standing_code
insert into pay.standing_codes (code, merchant_id, app_id, title, currency, created_at, ended_at)
values (%(code)s, %(merchant_id)s, %(app_id)s, %(title)s, %(currency)s, %(created_at)s, %(ended_at)s);

-- name: get_standing_code
select code, merchant_id, app_id, title, currency, created_at, ended_at
from pay.standing_codes where code = %(code)s;

-- name: list_standing_codes
select code, merchant_id, app_id, title, currency, created_at, ended_at
from pay.standing_codes where merchant_id = %(merchant_id)s order by created_at desc, code;

-- name: end_standing_code
update pay.standing_codes set ended_at = coalesce(ended_at, %(ended_at)s)
where code = %(code)s and merchant_id = %(merchant_id)s;
