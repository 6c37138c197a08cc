-- name: find_open_ids
select s.app_id, s.person_id, s.open_id
from unnest(%(app_ids)s::uuid[], %(person_ids)s::uuid[]) as u(app_id, person_id)
join identity.subjects s using (app_id, person_id);

-- name: create_open_ids
insert into identity.subjects (app_id, person_id, open_id, created_at)
select *, %(created_at)s::timestamptz from unnest(%(app_ids)s::uuid[], %(person_ids)s::uuid[], %(open_ids)s::text[])
order by 1, 2
on conflict do nothing;

-- name: person_by_open_id
select person_id from identity.subjects where app_id = %(app_id)s and open_id = %(open_id)s;

-- name: person_of_apps
select person_id from identity.subjects where app_id = any(%(app_ids)s::uuid[]) and open_id = %(open_id)s;
