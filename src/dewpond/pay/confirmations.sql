-- name: save_succeeded
-- The payments as they are now, and what moved in each payer's wallet.
with paid as (
  select * from unnest(
    %(merchant_ids)s::uuid[], %(ids)s::uuid[], %(payer_ids)s::uuid[], %(rails)s::text[], %(fees)s::bigint[],
    %(public_numbers)s::text[], %(succeeded_at)s::timestamptz[], %(proofs)s::text[])
    as u(merchant_id, id, payer_id, rail, fee_minor, public_number, succeeded_at, proof)
), saved as (
  update pay.payments p
  set status = 'succeeded', payer_id = u.payer_id, rail = u.rail, fee_minor = u.fee_minor,
      public_number = u.public_number, succeeded_at = u.succeeded_at
  from paid u where p.merchant_id = u.merchant_id and p.id = u.id
  returning p.payer_id, p.id, p.merchant_id, p.succeeded_at, p.minor, p.currency, u.proof, p.description
)
insert into pay.movements (person_id, id, merchant_id, payment_id, occurred_at, minor, currency, kind, proof, title)
select payer_id, id, merchant_id, id, succeeded_at, -minor, currency, 'payment', proof, description from saved;
