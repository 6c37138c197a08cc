-- Who let whom in here, and what staff did.

-- Null: from the terminal, or before it was written down. It never changes: the application may not update it.
alter table merchants.staff add column invited_by uuid references merchants.staff (id);
create index staff_invited_by on merchants.staff (invited_by) where invited_by is not null;

-- Of those who made links into an account, the last member of staff; a link from the terminal leaves it as it is.
alter table merchants.invitations add column invited_by uuid references merchants.staff (id);
create index invitations_invited_by on merchants.invitations (invited_by) where invited_by is not null;

-- What staff did, in the order it was written down. Nothing in it is ever changed or removed.
create table merchants.acts (
  position     bigint generated always as identity primary key,
  id           uuid not null unique,       -- derived from what is done once, however often it is asked for
  deed         text not null check (deed ~ '^[a-z_]{1,40}$'),
  staff_id     uuid references merchants.staff (id),              -- null: from the terminal
  merchant_id  uuid references merchants.merchants (id),          -- null: of the world as a whole
  subject      text not null check (length(subject) <= 200),      -- what or whom it was done to: an id as people see it
  detail       text not null check (length(detail) <= 200),       -- what it came to: a role, a mode, a sum, a moment
  address      text not null,              -- where the request came from; empty from the terminal
  occurred_at  timestamptz not null,       -- world time
  recorded_at  timestamptz not null        -- wall time
);
comment on table merchants.acts is 'reference';
create index acts_merchant on merchants.acts (merchant_id, position) where merchant_id is not null;
create index acts_staff on merchants.acts (staff_id, position);
grant select, insert on merchants.acts to dewpond_app;
