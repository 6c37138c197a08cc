-- How often somebody may do a thing. One moment per key says it all: from when on its budget is whole again. A key is a
-- keyed hash, so nobody's address stands here; a row whose moment is over is worth nothing and is taken away.
--
-- Not logged: counting costs no flush of the log, and a server that crashed begins to count anew.
create unlogged table kit.budgets (
  bucket    bigint primary key,
  whole_at  timestamptz not null           -- wall time
) with (fillfactor = 70);                  -- and no index on it: a row is written anew in its own page each time
comment on table kit.budgets is 'local';
-- Rows come and go, as in the outbox.
alter table kit.budgets set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
grant select, insert, update, delete on kit.budgets to dewpond_app;
