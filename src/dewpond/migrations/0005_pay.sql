-- Money asked, given and returned.

create schema pay;
grant usage on schema pay to dewpond_app;

--  open ──▶ succeeded
--    └────▶ closed
create table pay.payments (
  merchant_id         uuid not null,
  id                  uuid not null,
  app_id              uuid,                -- null: closed before it was opened, only its number is taken
  merchant_reference  text not null,
  description         text not null,
  minor               bigint check (minor > 0),
  currency            text not null,
  fee_rate_bp         int not null,
  status              text not null check (status in ('open', 'succeeded', 'closed')),
  opened_at           timestamptz not null,
  expires_at          timestamptz not null,
  payer_id            uuid,
  rail                text,
  fee_minor           bigint,
  public_number       text,
  succeeded_at        timestamptz,
  closed_at           timestamptz,
  -- accepted refunds; what is left can be refunded
  refunds             int not null default 0,
  refunded_minor      bigint not null default 0,
  refunded_fee_minor  bigint not null default 0,
  last_refund_at      timestamptz,
  primary key (merchant_id, id),
  unique (merchant_id, merchant_reference),
  check (app_id is not null or status = 'closed'),
  check ((app_id is null) = (minor is null)),
  check ((status = 'succeeded') = (payer_id is not null and succeeded_at is not null and public_number is not null
                                   and fee_minor is not null and rail is not null)),
  check ((status = 'closed') = (closed_at is not null)),
  check (refunded_minor between 0 and minor),
  check (refunded_minor = 0 or status = 'succeeded'),
  check (refunded_fee_minor between 0 and coalesce(fee_minor, 0))
) with (fillfactor = 70);
comment on table pay.payments is 'distributed by merchant_id';
create unique index payments_public_number on pay.payments (merchant_id, public_number) where public_number is not null;
create index payments_open on pay.payments (expires_at) where status = 'open';

-- What only a wire needs of a payment. No foreign key: it is written by the statement that writes the payment, nothing
-- is ever deleted, and the check cost more than both writes together.
create table pay.payment_requests (
  merchant_id      uuid not null,
  payment_id       uuid not null,
  trade_type       text not null,
  request_hash     bytea not null,            -- of what a repeat must bring again
  notify_url       text not null,
  attach           text,
  device_id        text,
  platform_key_id  text,                      -- the key the merchant named, if it named one
  code             text not null,             -- the live code; older ones are dead
  primary key (merchant_id, payment_id)
) with (fillfactor = 80);
comment on table pay.payment_requests is 'distributed by merchant_id';

-- From what a phone scans to the payment.
create table pay.codes (
  code         text primary key,
  merchant_id  uuid not null,
  payment_id   uuid not null,
  expires_at   timestamptz not null           -- world time
);
comment on table pay.codes is 'distributed by code';

--  processing ──▶ succeeded
--       ├───────▶ closed      (the merchant's money was not there in time)
--       └───────▶ abnormal    (the payer's side cannot take it)
create table pay.refunds (
  merchant_id         uuid not null,
  id                  uuid not null,
  payment_id          uuid not null,
  merchant_reference  text not null,
  public_number       text not null,
  minor               bigint not null check (minor > 0),
  fee_minor           bigint not null check (fee_minor >= 0),     -- fee given back with it
  currency            text not null,
  reason              text,
  status              text not null check (status in ('processing', 'succeeded', 'closed', 'abnormal')),
  request_hash        bytea not null,
  notify_url          text,
  platform_key_id     text,
  requested_at        timestamptz not null,
  ended_at            timestamptz,
  primary key (merchant_id, id),
  unique (merchant_id, merchant_reference),
  foreign key (merchant_id, payment_id) references pay.payments (merchant_id, id),
  check ((status = 'processing') = (ended_at is null))
);
comment on table pay.refunds is 'distributed by merchant_id';
create index refunds_payment on pay.refunds (merchant_id, payment_id);

create table pay.top_ups (
  person_id     uuid not null,
  id            uuid not null,
  minor         bigint not null check (minor > 0),
  currency      text not null,
  occurred_at   timestamptz not null,
  primary key (person_id, id)
);
comment on table pay.top_ups is 'distributed by person_id';

grant select, insert, update on pay.payments, pay.payment_requests, pay.refunds to dewpond_app;
grant select, insert, delete on pay.codes to dewpond_app;
grant select, insert on pay.top_ups to dewpond_app;
