-- name: record_attempts
-- Locked in the order of the key, so that two batches never wait for each other crosswise. Only an attempt written down
-- for the first time moves its delivery. The schedule moves when the attempt belonged to the place it stands at: of two
-- attempts at one place, made because a lease ran out, the second is only kept.
with given as (
  select * from unnest(%(merchant_ids)s::uuid[], %(delivery_ids)s::uuid[], %(ids)s::uuid[],
                       %(attempted_at)s::timestamptz[], %(elapsed_ms)s::int[], %(http_statuses)s::int[],
                       %(outcomes)s::text[], %(answers)s::text[], %(bodies)s::bytea[], %(delivered)s::bool[],
                       %(slots)s::int[], %(asked_at)s::timestamptz[], %(next_attempt_at)s::timestamptz[])
       as u(merchant_id, delivery_id, id, attempted_at, elapsed_ms, http_status, outcome, answer, body, delivered,
            slot, asked_at, next_attempt_at)
), standing as (
  select g.*, d.status, d.attempts, d.next_attempt_at as stands_at,
         d.status = 'pending' and g.asked_at is null and g.slot = d.slot as moves
  from given g
  join openplatform.deliveries d on d.merchant_id = g.merchant_id and d.id = g.delivery_id
  order by d.merchant_id, d.id for no key update of d
), fresh as (
  insert into openplatform.delivery_attempts
    (merchant_id, delivery_id, id, number, attempted_at, recorded_at, elapsed_ms, http_status, outcome, answer, body)
  select merchant_id, delivery_id, id, attempts + 1, attempted_at, %(recorded_at)s::timestamptz,
         elapsed_ms, http_status, outcome, answer, case when attempts = 0 then body end
  from standing
  on conflict do nothing
  returning merchant_id, delivery_id
), moved as (
  update openplatform.deliveries d
  set attempts = d.attempts + 1,
      slot = d.slot + j.moves::int,
      asked_at = case when d.asked_at = j.asked_at then null else d.asked_at end,
      status = case when j.delivered then 'delivered'
                    when j.moves and j.next_attempt_at is null then 'dead' else d.status end,
      next_attempt_at = case when j.delivered then null when j.moves then j.next_attempt_at else d.next_attempt_at end,
      ended_at = case when j.delivered or (j.moves and j.next_attempt_at is null) then j.attempted_at
                      else d.ended_at end
  from standing j join fresh f on f.merchant_id = j.merchant_id and f.delivery_id = j.delivery_id
  where d.merchant_id = j.merchant_id and d.id = j.delivery_id
  returning d.merchant_id, d.id, d.status, d.next_attempt_at
)
select merchant_id, id, status, next_attempt_at from moved
union all
select s.merchant_id, s.delivery_id, s.status, s.stands_at from standing s
where not exists (select from moved m where m.merchant_id = s.merchant_id and m.id = s.delivery_id);

-- name: list_attempts
select a.merchant_id, a.delivery_id, a.id, a.number, a.attempted_at, a.recorded_at, a.elapsed_ms, a.http_status,
       a.outcome, a.answer
from unnest(%(merchant_ids)s::uuid[], %(delivery_ids)s::uuid[]) as u(merchant_id, delivery_id)
join openplatform.delivery_attempts a on a.merchant_id = u.merchant_id and a.delivery_id = u.delivery_id
order by a.number, a.id;
