-- Who works for whom: staff, the role each has at a merchant, and how they come in.

create table merchants.staff (
  id            uuid primary key,
  sign_in_name  text not null unique check (sign_in_name ~ '^[a-z0-9][a-z0-9._@+-]{0,63}$'),
  name          text not null check (length(name) between 1 and 64),
  is_operator   boolean not null,          -- of this world: the desk is theirs
  created_at    timestamptz not null,
  ended_at      timestamptz                -- from then on nothing opens for them
);
comment on table merchants.staff is 'reference: whoever signs in is asked for by a name that is unique in the world';
create index staff_name on merchants.staff (name);
create index staff_age on merchants.staff (created_at, id);

-- What one may do at a merchant. A change ends the row and writes another, so it can be read who could do what when.
create table merchants.roles (
  id           uuid primary key,
  merchant_id  uuid not null references merchants.merchants (id),
  staff_id     uuid not null references merchants.staff (id),
  role         text not null check (role in ('owner', 'cashier', 'analyst')),
  given_at     timestamptz not null,
  given_by     uuid references merchants.staff (id),      -- null: from the terminal
  ended_at     timestamptz,
  ended_by     uuid references merchants.staff (id)
);
comment on table merchants.roles is 'reference';
create unique index roles_present on merchants.roles (staff_id, merchant_id) where ended_at is null;
create index roles_merchant on merchants.roles (merchant_id, staff_id) where ended_at is null;

create table merchants.passwords (
  staff_id  uuid primary key references merchants.staff (id),
  hash      text not null,                 -- argon2id with its own salt and cost
  set_at    timestamptz not null
);
comment on table merchants.passwords is 'reference';

-- Wrong passwords, counted by a keyed hash of the name that was typed, whether or not anybody is called so: who asks
-- learns nothing from the count, and it never has more than 2^20 rows.
create table merchants.sign_in_tries (
  bucket        int primary key check (bucket between 0 and 1048575),
  tries         int not null check (tries between 0 and 10),
  locked_until  timestamptz                -- wall time
) with (fillfactor = 70);
comment on table merchants.sign_in_tries is 'local';

-- How a member of staff comes in without a password or passkey yet: one link at a time, good once.
create table merchants.invitations (
  staff_id     uuid primary key references merchants.staff (id),
  token_hash   bytea not null unique,      -- SHA-256 of 32 random bytes
  created_at   timestamptz not null,
  expires_at   timestamptz not null,       -- wall time
  redeemed_at  timestamptz
);
comment on table merchants.invitations is 'reference';

grant select, insert, update on merchants.passwords, merchants.sign_in_tries, merchants.invitations to dewpond_app;
-- Nobody becomes an operator later, and what was given is never given by somebody else afterwards.
grant select, insert, update (ended_at) on merchants.staff to dewpond_app;
grant select, insert, update (ended_at, ended_by) on merchants.roles to dewpond_app;
