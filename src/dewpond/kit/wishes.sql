-- name: create_wish
-- Nothing where one of its kind is open, or where it was asked before.
insert into kit.wishes (id, kind, wanted, asked_by, asked_at)
values (%(id)s, %(kind)s, %(wanted)s::jsonb, %(asked_by)s, %(asked_at)s)
on conflict do nothing;

-- name: find_wish
select id, kind, wanted, asked_by, asked_at, begun_at, ended_at, outcome, told, stopped_by
from kit.wishes where id = %(id)s;

-- name: find_newest
-- The open one, if there is one, whatever the clocks of two machines say.
select id, kind, wanted, asked_by, asked_at, begun_at, ended_at, outcome, told, stopped_by
from kit.wishes where kind = %(kind)s order by ended_at is not null, asked_at desc, id desc limit 1;

-- name: find_newest_granted
select id, kind, wanted, asked_by, asked_at, begun_at, ended_at, outcome, told, stopped_by
from kit.wishes where kind = %(kind)s and outcome = 'granted' order by asked_at desc, id desc limit 1;

-- name: list_open
select id, kind, wanted, asked_by, asked_at, begun_at, ended_at, outcome, told, stopped_by
from kit.wishes where ended_at is null order by asked_at, id;

-- name: begin
update kit.wishes set begun_at = coalesce(begun_at, %(wall_now)s) where id = %(id)s and ended_at is null;

-- name: end
update kit.wishes set ended_at = %(wall_now)s, outcome = %(outcome)s, told = %(told)s::jsonb
where id = %(id)s and ended_at is null;

-- name: stop
update kit.wishes set ended_at = %(wall_now)s, outcome = 'stopped', stopped_by = %(stopped_by)s
where kind = %(kind)s and ended_at is null;
