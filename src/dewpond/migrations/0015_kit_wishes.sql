-- What somebody asks of the worker that takes longer than a request may: to move a sandbox's clock, to add the book up.

create table kit.wishes (
  id          uuid primary key,            -- made where it is asked, so that asking twice is once
  kind        text not null,
  wanted      jsonb not null,
  asked_by    uuid not null,               -- a member of staff
  asked_at    timestamptz not null,        -- wall time, as everything here
  begun_at    timestamptz,                 -- when a worker first took it up
  ended_at    timestamptz,
  outcome     text check (outcome in ('granted', 'refused', 'stopped')),
  told        jsonb,                       -- what came of it
  stopped_by  uuid,
  check ((ended_at is null) = (outcome is null)),
  check (stopped_by is null or outcome = 'stopped')
);
comment on table kit.wishes is 'local';
-- One at a time of each kind.
create unique index wishes_open on kit.wishes (kind) where ended_at is null;
create index wishes_newest on kit.wishes (kind, asked_at, id);
grant select, insert, update on kit.wishes to dewpond_app;
