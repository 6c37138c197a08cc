-- name: spend
-- No row comes back where there is no room for it, and nothing was spent.
insert into kit.budgets as held (bucket, whole_at)
values (%(bucket)s, %(wall_now)s::timestamptz + %(step)s::interval)
on conflict (bucket) do update
  set whole_at = greatest(held.whole_at, %(wall_now)s) + %(step)s
  where greatest(held.whole_at, %(wall_now)s) + %(step)s <= %(wall_now)s + %(window)s::interval
returning whole_at;

-- name: find_whole_at
select whole_at from kit.budgets where bucket = %(bucket)s;

-- name: give_back
update kit.budgets set whole_at = whole_at - %(step)s::interval where bucket = %(bucket)s;

-- name: forget
-- Whoever spends at this moment keeps their row.
delete from kit.budgets where bucket in (
  select bucket from kit.budgets where whole_at <= %(wall_now)s limit %(most)s for update skip locked
);
