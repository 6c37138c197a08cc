-- Who is here and how we know.

create schema identity;
grant usage on schema identity to dewpond_app;

create table identity.people (
  id          uuid primary key,
  name        text not null check (length(name) between 1 and 64),
  created_at  timestamptz not null,
  -- has a sandbox door of one tap: only ever true in a sandbox world
  is_demo     boolean not null default false
);
comment on table identity.people is 'distributed by id';
create index people_name on identity.people (name);

-- The payment PIN as a keyed verification value: without the key, which is not in this database, it says nothing.
create table identity.pins (
  person_id     uuid primary key,
  key_id        text not null,
  salt          bytea not null,
  value         bytea not null,
  tries         int not null default 0 check (tries between 0 and 5),
  last_try      uuid,                      -- the wrong one counted last: asked again after a lost commit it is the same
  locked_until  timestamptz,               -- wall time
  set_at        timestamptz not null,
  foreign key (person_id) references identity.people (id)
) with (fillfactor = 70);
comment on table identity.pins is 'distributed by person_id';

-- A person as one app knows them: `openid` on WeChat's wire, `sub` in OpenID Connect.
create table identity.subjects (
  app_id      uuid not null,
  person_id   uuid not null,
  open_id     text not null check (length(open_id) = 28),
  created_at  timestamptz not null,
  primary key (app_id, person_id),
  unique (app_id, open_id)
);
comment on table identity.subjects is 'distributed by app_id';

grant select, insert, update on identity.people, identity.pins to dewpond_app;
grant select, insert on identity.subjects to dewpond_app;
