-- name: create_deliveries
-- Once per fact and endpoint, however often the fact is read.
insert into openplatform.deliveries
  (merchant_id, id, endpoint_id, fact_id, event_kind, encoder, subject_id, status, created_at, next_attempt_at)
select u.merchant_id, u.id, u.endpoint_id, u.fact_id, u.event_kind, %(encoder)s, u.subject_id,
       'pending', %(world_now)s::timestamptz, %(world_now)s::timestamptz
from unnest(%(merchant_ids)s::uuid[], %(ids)s::uuid[], %(endpoint_ids)s::uuid[], %(fact_ids)s::uuid[],
            %(event_kinds)s::text[], %(subject_ids)s::uuid[])
     as u(merchant_id, id, endpoint_id, fact_id, event_kind, subject_id)
order by 1, 2
on conflict do nothing
returning merchant_id, id;

-- name: load_deliveries
select d.merchant_id, d.id, d.endpoint_id, e.url, d.fact_id, d.event_kind, d.encoder, d.subject_id, d.status,
       d.attempts, d.slot, a.body, d.created_at, d.next_attempt_at, d.asked_at, d.ended_at
from unnest(%(merchant_ids)s::uuid[], %(ids)s::uuid[]) as u(merchant_id, id)
join openplatform.deliveries d on d.merchant_id = u.merchant_id and d.id = u.id
join openplatform.webhook_endpoints e on e.merchant_id = d.merchant_id and e.id = d.endpoint_id
left join openplatform.delivery_attempts a on a.merchant_id = d.merchant_id and a.delivery_id = d.id and a.number = 1;

-- name: find_merchant
select merchant_id from openplatform.deliveries where id = %(id)s;

-- name: list_deliveries
select d.merchant_id, d.id, d.endpoint_id, e.url, d.fact_id, d.event_kind, d.encoder, d.subject_id, d.status,
       d.attempts, d.slot, a.body, d.created_at, d.next_attempt_at, d.asked_at, d.ended_at
from openplatform.deliveries d
join openplatform.webhook_endpoints e on e.merchant_id = d.merchant_id and e.id = d.endpoint_id
left join openplatform.delivery_attempts a on a.merchant_id = d.merchant_id and a.delivery_id = d.id and a.number = 1
where (%(status)s::text is null or d.status = %(status)s)
  and (%(before_at)s::timestamptz is null or (d.created_at, d.id) < (%(before_at)s, %(before_id)s::uuid))
order by d.created_at desc, d.id desc limit %(most)s;

-- name: list_merchant_deliveries
select d.merchant_id, d.id, d.endpoint_id, e.url, d.fact_id, d.event_kind, d.encoder, d.subject_id, d.status,
       d.attempts, d.slot, a.body, d.created_at, d.next_attempt_at, d.asked_at, d.ended_at
from openplatform.deliveries d
join openplatform.webhook_endpoints e on e.merchant_id = d.merchant_id and e.id = d.endpoint_id
left join openplatform.delivery_attempts a on a.merchant_id = d.merchant_id and a.delivery_id = d.id and a.number = 1
where d.merchant_id = %(merchant_id)s
  and (%(status)s::text is null or d.status = %(status)s)
  and (%(before_at)s::timestamptz is null or (d.created_at, d.id) < (%(before_at)s, %(before_id)s::uuid))
order by d.created_at desc, d.id desc limit %(most)s;

-- name: ask_again
update openplatform.deliveries set asked_at = %(world_now)s
where id = %(id)s and (%(merchant_id)s::uuid is null or merchant_id = %(merchant_id)s)
returning merchant_id;

-- name: list_pending
-- Whatever is to be tried has a job, and jobs are few beside deliveries.
select d.merchant_id, d.id, d.endpoint_id, e.url, d.fact_id, d.event_kind, d.encoder, d.subject_id, d.status,
       d.attempts, d.slot, a.body, d.created_at, d.next_attempt_at, d.asked_at, d.ended_at
from kit.jobs j
join openplatform.deliveries d
  on d.merchant_id = split_part(j.subject, '/', 1)::uuid and d.id = split_part(j.subject, '/', 2)::uuid
join openplatform.webhook_endpoints e on e.merchant_id = d.merchant_id and e.id = d.endpoint_id
left join openplatform.delivery_attempts a on a.merchant_id = d.merchant_id and a.delivery_id = d.id and a.number = 1
where j.kind = %(job)s and d.status = 'pending' and (%(before_id)s::uuid is null or d.id < %(before_id)s)
order by d.id desc limit %(most)s;

-- name: list_newest
select d.merchant_id, d.id, d.endpoint_id, e.url, d.fact_id, d.event_kind, d.encoder, d.subject_id, d.status,
       d.attempts, d.slot, a.body, d.created_at, d.next_attempt_at, d.asked_at, d.ended_at
from openplatform.deliveries d
join openplatform.webhook_endpoints e on e.merchant_id = d.merchant_id and e.id = d.endpoint_id
left join openplatform.delivery_attempts a on a.merchant_id = d.merchant_id and a.delivery_id = d.id and a.number = 1
where (%(status)s::text is null or d.status = %(status)s) and (%(before_id)s::uuid is null or d.id < %(before_id)s)
order by d.id desc limit %(most)s;

-- name: count_deliveries
select count(*) filter (where status = 'pending' and attempts = 0) as waiting,
       count(*) filter (where status = 'pending' and attempts > 0) as failing,
       count(*) filter (where status = 'dead') as dead
from openplatform.deliveries;
