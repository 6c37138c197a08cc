-- What a merchant knows of its people.

create schema reservoir;
grant usage on schema reservoir to dewpond_app;

-- One person as one merchant knows them: a drop in the pool.
create table reservoir.contacts (
  merchant_id    uuid not null,
  person_id      uuid not null,
  app_id         uuid not null,             -- the app through which they came
  first_seen_at  timestamptz not null,
  last_seen_at   timestamptz not null,
  primary key (merchant_id, person_id)
) with (fillfactor = 70);
comment on table reservoir.contacts is 'distributed by merchant_id';
create index contacts_last_seen on reservoir.contacts (merchant_id, last_seen_at, person_id);

-- What they have spent, a row per currency.
create table reservoir.spendings (
  merchant_id      uuid not null,
  person_id        uuid not null,
  currency         text not null,
  purchases        int not null default 0,
  spent_minor      bigint not null default 0,      -- before refunds
  refunds          int not null default 0,
  refunded_minor   bigint not null default 0,
  first_bought_at  timestamptz,
  last_bought_at   timestamptz,
  primary key (merchant_id, person_id, currency)
) with (fillfactor = 70);
comment on table reservoir.spendings is 'distributed by merchant_id';

-- Each moment the two met; `fact_id` makes a reaction deaf to the second time.
create table reservoir.touchpoints (
  merchant_id   uuid not null,
  fact_id       uuid not null,
  person_id     uuid not null,
  app_id        uuid not null,
  kind          text not null check (kind in ('purchase', 'refund')),
  payment_id    uuid not null,
  minor         bigint not null,
  currency      text not null,
  occurred_at   timestamptz not null,
  primary key (merchant_id, fact_id)
);
comment on table reservoir.touchpoints is 'distributed by merchant_id';
create index touchpoints_person on reservoir.touchpoints (merchant_id, person_id, occurred_at, fact_id);

grant select, insert, update on all tables in schema reservoir to dewpond_app;
