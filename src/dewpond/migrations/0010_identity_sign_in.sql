-- How people and staff sign in, what that leaves behind, and how a person says yes to one payment.
-- A holder is a person or a member of the staff: `realm` says which. All times are wall time.

-- Who is signed in where. The token in the browser names holder and session, so no second table is needed to find it.
create table identity.sessions (
  holder_id    uuid not null,
  id           uuid not null,
  realm        text not null check (realm in ('person', 'staff')),
  secret_hash  bytea not null check (length(secret_hash) = 32),   -- SHA-256 of the token's secret part, no more
  how          text not null,
  device       text not null check (length(device) <= 64),
  address      text not null check (length(address) <= 64),
  created_at   timestamptz not null,
  seen_at      timestamptz not null,
  expires_at   timestamptz not null,
  proven_at    timestamptz,                -- when the holder last proved in this session to be there in person
  ended_at     timestamptz,                -- said at once and once: no other machine's clock can bring it back
  primary key (holder_id, id)
) with (fillfactor = 80);
comment on table identity.sessions is 'distributed by holder_id';
create index sessions_expire on identity.sessions (expires_at);

create table identity.passkeys (
  holder_id      uuid not null,
  id             uuid not null,
  realm          text not null check (realm in ('person', 'staff')),
  credential_id  bytea not null,
  public_key     bytea not null,           -- COSE
  sign_count     bigint not null check (sign_count >= 0),
  transports     text[] not null,
  name           text not null check (length(name) <= 64),   -- may be empty: nobody gave it one
  is_backed_up   boolean not null,
  created_at     timestamptz not null,
  last_used_at   timestamptz,
  primary key (holder_id, id),
  unique (holder_id, credential_id)
) with (fillfactor = 80);
comment on table identity.passkeys is 'distributed by holder_id';

-- Whose a credential is: the look-up of a sign-in that asks for no name, and what makes a credential one holder's only.
create table identity.credentials (
  credential_id  bytea primary key check (length(credential_id) between 1 and 1023),
  holder_id      uuid not null
);
comment on table identity.credentials is 'distributed by credential_id';

-- A random question, asked once and gone when it is answered.
create table identity.challenges (
  id           uuid primary key,
  purpose      text not null check (purpose in ('registration', 'sign_in', 'proof', 'confirmation')),
  realm        text not null check (realm in ('person', 'staff')),
  value        bytea not null check (length(value) = 32),
  holder_id    uuid,
  session_id   uuid,
  -- what a confirmation says yes to
  merchant_id  uuid,
  payment_id   uuid,
  minor        bigint,
  currency     char(3),
  verified_at  timestamptz,                -- a confirmation's signature was right; without it the row is worth nothing
  expires_at   timestamptz not null,
  check ((purpose = 'sign_in') = (holder_id is null)),
  check (purpose not in ('proof', 'confirmation') or session_id is not null),
  check (num_nulls(merchant_id, payment_id, minor, currency) = case purpose when 'confirmation' then 0 else 4 end),
  check (verified_at is null or purpose = 'confirmation')
);
comment on table identity.challenges is 'distributed by id';
create index challenges_expire on identity.challenges (expires_at);

--  waiting ──▶ approved ──▶ (redeemed: the row is gone)
--     └──────▶ refused
create table identity.scans (
  id            uuid primary key,          -- 128 random bits, with no time in them
  browser_hash  bytea not null check (length(browser_hash) = 32),   -- SHA-256 of what only the asking browser has
  device        text not null check (length(device) <= 64),
  address       text not null check (length(address) <= 64),
  numbers       smallint[] not null check (cardinality(numbers) = 3),
  number        smallint not null check (number = any (numbers)),   -- the one on the other screen
  state         text not null check (state in ('waiting', 'approved', 'refused')),
  person_id     uuid,
  created_at    timestamptz not null,
  expires_at    timestamptz not null,
  check ((state = 'approved') = (person_id is not null))
);
comment on table identity.scans is 'distributed by id';
create index scans_expire on identity.scans (expires_at);

-- Rows come and go, as in the outbox.
alter table identity.challenges set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
alter table identity.scans set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

grant select, insert, update, delete
  on identity.sessions, identity.passkeys, identity.challenges, identity.scans to dewpond_app;
grant select, insert, delete on identity.credentials to dewpond_app;
