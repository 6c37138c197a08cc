-- name: find_by_reference
select merchant_id, id, app_id, merchant_reference, description, minor, currency, fee_rate_bp, status, opened_at,
       expires_at, payer_id, rail, fee_minor, public_number, succeeded_at, closed_at, refunds, refunded_minor,
       refunded_fee_minor, last_refund_at, meant_for
from pay.payments
where merchant_id = %(merchant_id)s and merchant_reference = %(merchant_reference)s and app_id is not null;

-- name: find_by_public_number
select merchant_id, id, app_id, merchant_reference, description, minor, currency, fee_rate_bp, status, opened_at,
       expires_at, payer_id, rail, fee_minor, public_number, succeeded_at, closed_at, refunds, refunded_minor,
       refunded_fee_minor, last_refund_at, meant_for
from pay.payments
where merchant_id = %(merchant_id)s and public_number = %(public_number)s and app_id is not null;

-- name: list_payments
select p.merchant_id, p.id, p.app_id, p.merchant_reference, p.description, p.minor, p.currency, p.fee_rate_bp, p.status,
       p.opened_at, p.expires_at, p.payer_id, p.rail, p.fee_minor, p.public_number, p.succeeded_at, p.closed_at,
       p.refunds, p.refunded_minor, p.refunded_fee_minor, p.last_refund_at, p.meant_for
from unnest(%(merchant_ids)s::uuid[], %(ids)s::uuid[]) as u(merchant_id, id)
join pay.payments p on p.merchant_id = u.merchant_id and p.id = u.id and p.app_id is not null;

-- name: lock_payments
-- In one order for everybody, so that two batches can never wait for each other.
select p.merchant_id, p.id, p.app_id, p.merchant_reference, p.description, p.minor, p.currency, p.fee_rate_bp, p.status,
       p.opened_at, p.expires_at, p.payer_id, p.rail, p.fee_minor, p.public_number, p.succeeded_at, p.closed_at,
       p.refunds, p.refunded_minor, p.refunded_fee_minor, p.last_refund_at, p.meant_for
from unnest(%(merchant_ids)s::uuid[], %(ids)s::uuid[]) as u(merchant_id, id)
join pay.payments p on p.merchant_id = u.merchant_id and p.id = u.id and p.app_id is not null
order by p.merchant_id, p.id for no key update of p;

-- name: lock_by_reference
select id, status, expires_at from pay.payments
where merchant_id = %(merchant_id)s and merchant_reference = %(merchant_reference)s for no key update;

-- name: burn_reference
insert into pay.payments (merchant_id, id, merchant_reference, description, currency, fee_rate_bp, status, opened_at,
                          expires_at, closed_at)
values (%(merchant_id)s, %(id)s, %(merchant_reference)s, '', '', 0, 'closed', %(at)s, %(at)s, %(at)s)
on conflict do nothing;

-- name: save_closed
update pay.payments set status = 'closed', closed_at = %(closed_at)s
where merchant_id = %(merchant_id)s and id = %(id)s;

-- name: sweep
-- Writing down what has long been true: nobody may wait for a payer, so locked rows are left for the next time.
with expired as (
  select merchant_id, id from pay.payments
  where status = 'open' and expires_at <= %(now)s
  order by merchant_id, id limit %(most)s for no key update skip locked
), swept as (
  update pay.payments p set status = 'closed', closed_at = p.expires_at
  from expired e where p.merchant_id = e.merchant_id and p.id = e.id
  returning p.merchant_id, p.id, p.expires_at
)
select merchant_id, id, expires_at from swept order by merchant_id, id;

-- name: get_request
select merchant_id, payment_id, trade_type, request_hash, notify_url, attach, device_id, platform_key_id, code
from pay.payment_requests where merchant_id = %(merchant_id)s and payment_id = %(payment_id)s;

-- name: list_requests
select r.merchant_id, r.payment_id, r.trade_type, r.request_hash, r.notify_url, r.attach, r.device_id,
       r.platform_key_id, r.code
from unnest(%(merchant_ids)s::uuid[], %(payment_ids)s::uuid[]) as u(merchant_id, payment_id)
join pay.payment_requests r on r.merchant_id = u.merchant_id and r.payment_id = u.payment_id;

-- name: find_codes
select code, merchant_id, payment_id, expires_at from pay.codes where code = any(%(codes)s::text[]);

-- name: search
-- For the terminal, over all merchants: by id, by the merchant's number for it, or by ours.
select merchant_id, id, app_id, merchant_reference, description, minor, currency, fee_rate_bp, status, opened_at,
       expires_at, payer_id, rail, fee_minor, public_number, succeeded_at, closed_at, refunds, refunded_minor,
       refunded_fee_minor, last_refund_at, meant_for
from pay.payments
where app_id is not null
  and (id = %(id)s::uuid or merchant_reference = %(text)s or public_number = %(text)s)
order by opened_at desc, id desc limit 20;

-- name: list_by_merchant
select merchant_id, id, app_id, merchant_reference, description, minor, currency, fee_rate_bp, status, opened_at,
       expires_at, payer_id, rail, fee_minor, public_number, succeeded_at, closed_at, refunds, refunded_minor,
       refunded_fee_minor, last_refund_at, meant_for
from pay.payments
where merchant_id = %(merchant_id)s and app_id is not null
  and opened_at >= coalesce(%(since)s::timestamptz, '-infinity')
  and opened_at < coalesce(%(until)s::timestamptz, 'infinity')
  and (opened_at, id) < (coalesce(%(before_at)s::timestamptz, 'infinity'),
                         coalesce(%(before_id)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
  and (%(status)s::text is null or status = %(status)s)
order by opened_at desc, id desc limit %(most)s;

-- name: search_by_merchant
-- Numbers by their own indexes, however old; words only as far back as a page can wait for.
with recent as (
  select id, merchant_reference, description from pay.payments
  where merchant_id = %(merchant_id)s and app_id is not null
    and opened_at >= coalesce(%(since)s::timestamptz, '-infinity')
    and opened_at < coalesce(%(until)s::timestamptz, 'infinity')
    and (opened_at, id) < (coalesce(%(before_at)s::timestamptz, 'infinity'),
                           coalesce(%(before_id)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    and (%(status)s::text is null or status = %(status)s)
  order by opened_at desc, id desc limit %(searched)s
), found as (
  select id from recent
  where strpos(lower(description), lower(%(text)s)) > 0 or strpos(lower(merchant_reference), lower(%(text)s)) > 0
  union
  select %(id)s::uuid
  union
  select id from pay.payments where merchant_id = %(merchant_id)s and merchant_reference = %(text)s
  union
  select id from pay.payments where merchant_id = %(merchant_id)s and public_number = %(text)s
)
select p.merchant_id, p.id, p.app_id, p.merchant_reference, p.description, p.minor, p.currency, p.fee_rate_bp, p.status,
       p.opened_at, p.expires_at, p.payer_id, p.rail, p.fee_minor, p.public_number, p.succeeded_at, p.closed_at,
       p.refunds, p.refunded_minor, p.refunded_fee_minor, p.last_refund_at, p.meant_for
from found join pay.payments p on p.merchant_id = %(merchant_id)s and p.id = found.id
where p.app_id is not null
  and p.opened_at >= coalesce(%(since)s::timestamptz, '-infinity')
  and p.opened_at < coalesce(%(until)s::timestamptz, 'infinity')
  and (p.opened_at, p.id) < (coalesce(%(before_at)s::timestamptz, 'infinity'),
                             coalesce(%(before_id)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
  and (%(status)s::text is null or p.status = %(status)s)
order by p.opened_at desc, p.id desc limit %(most)s;
