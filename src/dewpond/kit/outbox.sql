-- name: publish
insert into kit.outbox (id, kind, aggregate_id, merchant_id, person_id, body, occurred_at, recorded_at)
select *, %(recorded_at)s::timestamptz
from unnest(%(id)s::uuid[], %(kind)s::text[], %(aggregate_id)s::uuid[], %(merchant_id)s::uuid[], %(person_id)s::uuid[],
            %(body)s::jsonb[], %(occurred_at)s::timestamptz[]);

-- name: try_relay_lock
select pg_try_advisory_xact_lock(7401, 1);

-- name: relay
-- Only what is committed is seen here, and only this statement gives positions, under the relay's lock:
-- no reader can pass a position that is filled later.
with taken as (
  delete from kit.outbox where seq in (select seq from kit.outbox order by seq limit %(most)s) returning *
), placed as (
  insert into kit.facts (position, id, kind, aggregate_id, merchant_id, person_id, body, occurred_at, recorded_at)
  select (select coalesce(max(position), 0) from kit.facts) + row_number() over (order by seq),
         id, kind, aggregate_id, merchant_id, person_id, body, occurred_at, recorded_at
  from taken returning 1
)
select count(*) from placed;

-- name: page
select position, id, kind, aggregate_id, merchant_id, person_id, body, occurred_at, recorded_at
from kit.facts where position > %(after)s order by position limit %(most)s;

-- name: page_of_merchant
-- For a stretch of positions that is short: there is no index by merchant, which every payment would pay for.
select position, id, kind, aggregate_id, merchant_id, person_id, body, occurred_at, recorded_at
from kit.facts where position > %(after)s and position <= %(upto)s and merchant_id = %(merchant_id)s order by position;

-- name: last_position
select coalesce(max(position), 0) from kit.facts;

-- name: waiting
select count(*) from kit.outbox;

-- name: get_fact
select position, id, kind, aggregate_id, merchant_id, person_id, body, occurred_at, recorded_at
from kit.facts where position = %(position)s;

-- name: register_reader
insert into kit.readers (name) values (%(name)s) on conflict do nothing;

-- name: lock_reader
select position from kit.readers where name = %(name)s for no key update skip locked;

-- name: advance_reader
update kit.readers set position = %(position)s where name = %(name)s;

-- name: reader_positions
select name, position from kit.readers order by name;
