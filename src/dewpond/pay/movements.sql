-- name: list_movements
select person_id, id, kind, merchant_id, payment_id, proof, title, minor, currency, occurred_at
from pay.movements
where person_id = %(person_id)s
  and (occurred_at, id) < (coalesce(%(before_at)s::timestamptz, 'infinity'),
                           coalesce(%(before_id)s::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
  and (%(kinds)s::text[] is null or kind = any(%(kinds)s))
  and (%(text)s::text = '' and cardinality(%(merchant_ids)s::uuid[]) = 0
       or %(text)s <> '' and strpos(lower(title), lower(%(text)s)) > 0
       or merchant_id = any(%(merchant_ids)s))
order by occurred_at desc, id desc limit %(most)s;

-- name: list_payees
select distinct merchant_id from pay.movements where person_id = %(person_id)s and kind = 'payment';

-- name: find_merchant
-- Within this person's part of the index; nobody else's payment is looked at.
select merchant_id from pay.movements
where person_id = %(person_id)s and id = %(payment_id)s and kind = 'payment';

-- name: record_movement
insert into pay.movements (person_id, id, merchant_id, payment_id, occurred_at, minor, currency, kind, proof, title)
values (%(person_id)s, %(id)s, %(merchant_id)s, %(payment_id)s, %(occurred_at)s, %(minor)s, %(currency)s, %(kind)s,
        %(proof)s, %(title)s);
