-- The floor: the world, its clock, facts, jobs.
-- Runs as dewpond_owner; the application's role gets only what is granted here.

create schema kit;
grant usage on schema kit to dewpond_app;

-- The world -------------------------------------------------------------------------------------------------------

create table kit.worlds (
  only_row          boolean primary key default true check (only_row),
  id                uuid not null,
  kind              text not null check (kind in ('live', 'sandbox')),
  created_at        timestamptz not null,
  public_url        text not null default '',
  -- world time = frozen_at, or wall time + clock_offset; a live world has neither
  clock_offset      interval not null default '0',
  frozen_at         timestamptz,
  check (kind = 'sandbox' or (clock_offset = '0' and frozen_at is null))
);
comment on table kit.worlds is 'reference';

create function kit.keep_world() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' or new.kind is distinct from old.kind or new.id is distinct from old.id then
    raise exception 'a world''s kind and id are written once';
  end if;
  return new;
end $$;
create trigger keep_world before update or delete on kit.worlds for each row execute function kit.keep_world();
grant select, insert, update on kit.worlds to dewpond_app;

-- Facts -----------------------------------------------------------------------------------------------------------

-- Where facts wait, in the transaction that made them, for the relay. `seq` only orders what one relay pass sees:
-- facts of one aggregate are made under its row lock, so their seq follows their order.
create table kit.outbox (
  seq           bigint generated always as identity primary key,   -- so that a long backlog is taken in slices
  id            uuid not null,
  kind          text not null,
  aggregate_id  uuid not null,
  merchant_id   uuid,
  person_id     uuid,
  body          jsonb not null,
  occurred_at   timestamptz not null,
  recorded_at   timestamptz not null
);
comment on table kit.outbox is 'local';
-- Rows come and go: what is gone lies in the way of the next look until it is vacuumed, so that must not wait long.
alter table kit.outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- What has happened in this world, in one order. Kept for replay.
create table kit.facts (
  position      bigint primary key,
  id            uuid not null,
  kind          text not null,
  aggregate_id  uuid not null,
  merchant_id   uuid,
  person_id     uuid,
  body          jsonb not null,
  occurred_at   timestamptz not null,
  recorded_at   timestamptz not null
);
comment on table kit.facts is 'local';

-- How far each reaction has read.
create table kit.readers (
  name      text primary key,
  position  bigint not null default 0
);
comment on table kit.readers is 'local';

grant select, insert, delete on kit.outbox to dewpond_app;
grant select, insert on kit.facts to dewpond_app;
grant select, insert, update on kit.readers to dewpond_app;

-- Jobs ------------------------------------------------------------------------------------------------------------

-- Work that is due at a moment of world time. `leased_until` is wall time: a worker that died is no longer waited for.
create table kit.jobs (
  id            uuid primary key,
  kind          text not null,
  subject       text not null,             -- one open job per kind and subject
  due_at        timestamptz not null,
  tries         int not null default 0,
  leased_until  timestamptz,
  lease         uuid,
  last_error    text,
  quarantined_at timestamptz,
  unique (kind, subject)
) with (fillfactor = 50);                    -- each job is claimed in place, without touching an index
create index jobs_due on kit.jobs (due_at, id) where quarantined_at is null;
comment on table kit.jobs is 'local';
alter table kit.jobs set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);   -- as the outbox
grant select, insert, update, delete on kit.jobs to dewpond_app;
