-- Whom we serve, and the keys by which we know each other.

create schema merchants;
grant usage on schema merchants to dewpond_app;

create table merchants.merchants (
  id           uuid primary key,
  number       text not null unique check (number ~ '^[0-9]{8,10}$'),   -- mchid
  name         text not null check (length(name) between 1 and 64),
  fee_rate_bp  int not null check (fee_rate_bp between 0 and 10000),
  -- which of the platform's keys signs what names none: WeChat's certificate mode or public-key mode
  key_mode     text not null check (key_mode in ('certificate', 'public_key')),
  created_at   timestamptz not null
);
comment on table merchants.merchants is 'reference: every request asks for one by its number, which is unique in the world';
create index merchants_name on merchants.merchants (name);

create table merchants.apps (
  id           uuid primary key,
  merchant_id  uuid not null references merchants.merchants (id),
  appid        text not null unique check (appid ~ '^wx[0-9a-f]{16}$'),
  name         text not null,
  created_at   timestamptz not null
);
comment on table merchants.apps is 'reference';
create index apps_merchant on merchants.apps (merchant_id);

-- The merchant's API certificates; the private keys are made and kept on the merchant's side.
create table merchants.certificates (
  merchant_id  uuid not null references merchants.merchants (id),
  serial       text not null check (serial ~ '^[1-7][0-9A-F]{39}$'),
  pem          text not null,
  not_before   timestamptz not null,
  not_after    timestamptz not null,
  created_at   timestamptz not null,
  revoked_at   timestamptz,
  primary key (merchant_id, serial)
);
comment on table merchants.certificates is 'distributed by merchant_id';

-- The API v3 key: what callbacks and certificates are encrypted with for this merchant.
create table merchants.api_keys (
  merchant_id  uuid primary key references merchants.merchants (id),
  sealed       bytea not null,
  created_at   timestamptz not null
);
comment on table merchants.api_keys is 'distributed by merchant_id';

-- The world's own authority. It signs merchants' and the platform's certificates.
create table merchants.authorities (
  serial        text primary key,
  pem           text not null,
  sealed_key    bytea not null,
  created_at    timestamptz not null
);
comment on table merchants.authorities is 'reference';

-- What the platform signs with: certificates for everybody, and one public key per merchant.
create table merchants.platform_keys (
  id            text primary key,          -- certificate serial, or PUB_KEY_ID_ and 28 digits
  merchant_id   uuid references merchants.merchants (id),
  certificate   text,                      -- PEM, for a platform certificate
  public_key    text not null,             -- PEM
  sealed_key    bytea not null,
  not_before    timestamptz not null,
  not_after     timestamptz,               -- a public key never expires
  created_at    timestamptz not null,
  check ((certificate is null) = (merchant_id is not null)),
  check ((certificate is null) = (not_after is null))
);
comment on table merchants.platform_keys is 'reference';
-- Nulls are not equal here: many certificates of the world, one public key per merchant, and both are found by it.
create unique index platform_keys_merchant on merchants.platform_keys (merchant_id);

grant select, insert, update on all tables in schema merchants to dewpond_app;
