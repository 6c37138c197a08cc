-- name: save_succeeded
update pay.payments p
set status = 'succeeded', payer_id = u.payer_id, rail = u.rail, fee_minor = u.fee_minor,
    public_number = u.public_number, succeeded_at = u.succeeded_at
from unnest(%(merchant_ids)s::uuid[], %(ids)s::uuid[], %(payer_ids)s::uuid[], %(rails)s::text[], %(fees)s::bigint[],
            %(public_numbers)s::text[], %(succeeded_at)s::timestamptz[])
     as u(merchant_id, id, payer_id, rail, fee_minor, public_number, succeeded_at)
where p.merchant_id = u.merchant_id and p.id = u.id;
