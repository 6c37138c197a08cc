-- name: open_payments
-- One statement for payment, request and code. In the order of the merchant's numbers, so that two batches that bring
-- the same numbers cannot wait for each other.
with asked as (
  select * from unnest(
    %(merchant_id)s::uuid[], %(id)s::uuid[], %(app_id)s::uuid[], %(merchant_reference)s::text[], %(description)s::text[],
    %(minor)s::bigint[], %(currency)s::text[], %(fee_rate_bp)s::int[], %(opened_at)s::timestamptz[],
    %(expires_at)s::timestamptz[], %(trade_type)s::text[], %(request_hash)s::bytea[], %(notify_url)s::text[],
    %(attach)s::text[], %(device_id)s::text[], %(platform_key_id)s::text[], %(code)s::text[],
    %(code_expires_at)s::timestamptz[], %(meant_for)s::uuid[])
    as u(merchant_id, id, app_id, merchant_reference, description, minor, currency, fee_rate_bp, opened_at, expires_at,
         trade_type, request_hash, notify_url, attach, device_id, platform_key_id, code, code_expires_at, meant_for)
), opened as (
  insert into pay.payments (merchant_id, id, app_id, merchant_reference, description, minor, currency, fee_rate_bp,
                            status, opened_at, expires_at, meant_for)
  select merchant_id, id, app_id, merchant_reference, description, minor, currency, fee_rate_bp,
         'open', opened_at, expires_at, meant_for
  from asked order by merchant_id, merchant_reference
  on conflict (merchant_id, merchant_reference) do nothing
  returning merchant_id, id
), requested as (
  insert into pay.payment_requests (merchant_id, payment_id, trade_type, request_hash, notify_url, attach, device_id,
                                    platform_key_id, code)
  select merchant_id, id, trade_type, request_hash, notify_url, attach, device_id, platform_key_id, code
  from asked join opened using (merchant_id, id)
), coded as (
  insert into pay.codes (code, merchant_id, payment_id, expires_at)
  select code, merchant_id, id, code_expires_at from asked join opened using (merchant_id, id)
)
select id from opened;

-- name: lock_earlier
-- The payments that already hold these numbers.
select p.merchant_id, p.id, p.merchant_reference, p.status, p.expires_at, r.request_hash, r.trade_type, r.code
from unnest(%(merchant_ids)s::uuid[], %(merchant_references)s::text[]) as u(merchant_id, merchant_reference)
join pay.payments p on p.merchant_id = u.merchant_id and p.merchant_reference = u.merchant_reference
left join pay.payment_requests r on r.merchant_id = p.merchant_id and r.payment_id = p.id
order by p.merchant_id, p.id for no key update of p;

-- name: replace_codes
-- A repeat gets a fresh code and the old one dies. The old one is read here, under the payment's lock: what was read
-- while waiting for the lock may be a code that another repeat has replaced since.
with renewed as (
  select * from unnest(%(merchant_ids)s::uuid[], %(payment_ids)s::uuid[], %(codes)s::text[], %(expires_at)s::timestamptz[])
    as u(merchant_id, payment_id, code, expires_at)
), dead as (
  delete from pay.codes where code in (
    select r.code from renewed u
    join pay.payment_requests r on r.merchant_id = u.merchant_id and r.payment_id = u.payment_id)
), told as (
  update pay.payment_requests r set code = u.code from renewed u
  where r.merchant_id = u.merchant_id and r.payment_id = u.payment_id
)
insert into pay.codes (code, merchant_id, payment_id, expires_at)
select code, merchant_id, payment_id, expires_at from renewed;
