-- name: find_by_reference
select merchant_id, id, payment_id, merchant_reference, public_number, minor, fee_minor, currency, reason, status,
       request_hash, notify_url, platform_key_id, requested_at, ended_at
from pay.refunds where merchant_id = %(merchant_id)s and merchant_reference = %(merchant_reference)s;

-- name: get_refund
select merchant_id, id, payment_id, merchant_reference, public_number, minor, fee_minor, currency, reason, status,
       request_hash, notify_url, platform_key_id, requested_at, ended_at
from pay.refunds where merchant_id = %(merchant_id)s and id = %(id)s;

-- name: lock_refund
select merchant_id, id, payment_id, merchant_reference, public_number, minor, fee_minor, currency, reason, status,
       request_hash, notify_url, platform_key_id, requested_at, ended_at
from pay.refunds where merchant_id = %(merchant_id)s and id = %(id)s for no key update;

-- name: list_refunds
select merchant_id, id, payment_id, merchant_reference, public_number, minor, fee_minor, currency, reason, status,
       request_hash, notify_url, platform_key_id, requested_at, ended_at
from pay.refunds where merchant_id = %(merchant_id)s and payment_id = %(payment_id)s order by requested_at, id;

-- name: list_refunds_by_key
select r.merchant_id, r.id, r.payment_id, r.merchant_reference, r.public_number, r.minor, r.fee_minor, r.currency,
       r.reason, r.status, r.request_hash, r.notify_url, r.platform_key_id, r.requested_at, r.ended_at
from unnest(%(merchant_ids)s::uuid[], %(ids)s::uuid[]) as u(merchant_id, id)
join pay.refunds r on r.merchant_id = u.merchant_id and r.id = u.id;

-- name: create_refund
insert into pay.refunds (merchant_id, id, payment_id, merchant_reference, public_number, minor, fee_minor, currency,
                         reason, status, request_hash, notify_url, platform_key_id, requested_at)
values (%(merchant_id)s, %(id)s, %(payment_id)s, %(merchant_reference)s, %(public_number)s, %(minor)s, %(fee_minor)s,
        %(currency)s, %(reason)s, 'processing', %(request_hash)s, %(notify_url)s, %(platform_key_id)s, %(requested_at)s)
on conflict (merchant_id, merchant_reference) do nothing;

-- name: count_on_payment
update pay.payments
set refunds = refunds + 1, refunded_minor = refunded_minor + %(minor)s,
    refunded_fee_minor = refunded_fee_minor + %(fee_minor)s, last_refund_at = %(at)s
where merchant_id = %(merchant_id)s and id = %(payment_id)s;

-- name: end_refund
update pay.refunds set status = %(status)s, ended_at = %(ended_at)s
where merchant_id = %(merchant_id)s and id = %(id)s;
