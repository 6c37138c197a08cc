-- name: create_endpoints
-- In one order everywhere, so that two writers never wait for each other crosswise.
insert into openplatform.webhook_endpoints (merchant_id, id, url, created_at)
select u.merchant_id, u.id, u.url, %(created_at)s::timestamptz
from unnest(%(merchant_ids)s::uuid[], %(ids)s::uuid[], %(urls)s::text[]) as u(merchant_id, id, url)
order by 1, 2
on conflict do nothing;
