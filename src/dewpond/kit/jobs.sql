-- name: schedule
insert into kit.jobs (id, kind, subject, due_at)
select * from unnest(%(id)s::uuid[], %(kind)s::text[], %(subject)s::text[], %(due_at)s::timestamptz[])
order by 2, 3
on conflict (kind, subject) do update
  set due_at = excluded.due_at, tries = 0, quarantined_at = null, last_error = null, leased_until = null, lease = null;

-- name: claim
-- Materialized, because a plan that asked for the due ones once per row would take more than the limit.
with due as materialized (
  select id from kit.jobs
  where quarantined_at is null and due_at <= %(world_now)s
    and (leased_until is null or leased_until < %(wall_now)s)
  order by due_at, id limit %(most)s for update skip locked
), claimed as (
  update kit.jobs j set lease = %(lease)s, leased_until = %(leased_until)s, tries = tries + 1
  from due where j.id = due.id
  returning j.id, j.kind, j.subject, j.due_at, j.tries, j.lease
)
select id, kind, subject, due_at, tries, lease from claimed order by due_at, id;

-- name: lock_jobs
-- In the order in which they are scheduled, so that a worker and a scheduler of the same jobs never wait for each other.
select id from kit.jobs where id = any(%(ids)s::uuid[]) order by kind, subject for update;

-- name: keep
select true from kit.jobs where id = %(id)s and lease = %(lease)s for update;

-- name: finish
-- Each by its own lease: the jobs of one claim share one, and a job may have been claimed anew since.
delete from kit.jobs j using unnest(%(ids)s::uuid[], %(leases)s::uuid[]) as u(id, lease)
where j.id = u.id and j.lease = u.lease;

-- name: put_off
update kit.jobs j
set due_at = u.due_at, tries = u.tries, last_error = u.last_error, leased_until = u.paused_until, lease = null,
    quarantined_at = u.quarantined_at
from unnest(%(ids)s::uuid[], %(due_at)s::timestamptz[], %(tries)s::int[], %(last_error)s::text[],
            %(quarantined_at)s::timestamptz[], %(paused_until)s::timestamptz[], %(leases)s::uuid[])
     as u(id, due_at, tries, last_error, quarantined_at, paused_until, lease)
where j.id = u.id and j.lease = u.lease;

-- name: next_due
select min(due_at) from kit.jobs where quarantined_at is null;

-- name: count_due
select count(*) from kit.jobs where quarantined_at is null and due_at <= %(world_now)s;

-- name: list_like
select subject, due_at, quarantined_at from kit.jobs where kind = %(kind)s and subject like %(pattern)s;

-- name: quarantined
select id, kind, subject, due_at, tries, last_error, quarantined_at from kit.jobs
where quarantined_at is not null order by quarantined_at, id limit %(most)s;

-- name: count_quarantined
select count(*) from kit.jobs where quarantined_at is not null;

-- name: find_quarantined
select kind, subject from kit.jobs where id = %(id)s and quarantined_at is not null;
