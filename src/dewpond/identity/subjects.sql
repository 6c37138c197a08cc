-- name: find_open_ids
select s.app_id, s.person_id, s.open_id
from unnest(%(app_ids)s::uuid[], %(person_ids)s::uuid[]) as u(app_id, person_id)
join identity.subjects s using (app_id, person_id);

-- name: make_open_ids
-- Most are there already, and a row that is tried in vain costs more than one that is looked for.
insert into identity.subjects (app_id, person_id, open_id, created_at)
select u.app_id, u.person_id, u.open_id, %(created_at)s::timestamptz
from unnest(%(app_ids)s::uuid[], %(person_ids)s::uuid[], %(open_ids)s::text[]) as u(app_id, person_id, open_id)
where not exists (select from identity.subjects s where s.app_id = u.app_id and s.person_id = u.person_id)
order by 1, 2
on conflict do nothing;

-- name: person_by_open_id
select person_id from identity.subjects where app_id = %(app_id)s and open_id = %(open_id)s;

-- name: person_of_apps
select person_id from identity.subjects where app_id = any(%(app_ids)s::uuid[]) and open_id = %(open_id)s;
