-- What a merchant took in and whom it met for the first time, hour by hour; and the pools that a person is in.

-- Hours of Asia/Shanghai, by the moment in the world; a day is the sum of its hours.
create table reservoir.takings (
  merchant_id     uuid not null,
  hour            timestamptz not null,         -- its beginning
  currency        text not null,
  payments        int not null default 0,
  minor           bigint not null default 0,    -- before refunds
  refunds         int not null default 0,       -- by the hour in which they were given, not that of their payment
  refunded_minor  bigint not null default 0,
  primary key (merchant_id, hour, currency)
) with (fillfactor = 50);                       -- the present hour's row is written over and over
comment on table reservoir.takings is 'distributed by merchant_id';

-- How many people were seen for the first time: each contact counts once, in the hour of first_seen_at.
create table reservoir.arrivals (
  merchant_id   uuid not null,
  hour          timestamptz not null,
  new_contacts  int not null,
  primary key (merchant_id, hour)
) with (fillfactor = 50);
comment on table reservoir.arrivals is 'distributed by merchant_id';

-- Contacts seen from the other side: which merchants know a person.
create table reservoir.pools (
  person_id      uuid not null,
  merchant_id    uuid not null,
  first_seen_at  timestamptz not null,
  primary key (person_id, merchant_id)
);
comment on table reservoir.pools is 'distributed by person_id';

-- What first_seen_at was before the last write, null in a row that was just made: so the statement that writes a
-- contact can tell from what comes back whether somebody arrived, or arrived earlier than was known.
alter table reservoir.contacts add column was_first_seen_at timestamptz;

-- Nothing is written while it is counted. (A worker of the version before would count nothing: it is stopped first.)
lock table reservoir.touchpoints, reservoir.contacts in share row exclusive mode;

insert into reservoir.takings (merchant_id, hour, currency, payments, minor, refunds, refunded_minor)
select merchant_id, date_trunc('hour', occurred_at, 'Asia/Shanghai'), currency,
       count(*) filter (where kind = 'purchase'), coalesce(sum(minor) filter (where kind = 'purchase'), 0),
       count(*) filter (where kind = 'refund'), coalesce(sum(minor) filter (where kind = 'refund'), 0)
from reservoir.touchpoints group by 1, 2, 3;

insert into reservoir.arrivals (merchant_id, hour, new_contacts)
select merchant_id, date_trunc('hour', first_seen_at, 'Asia/Shanghai'), count(*) from reservoir.contacts group by 1, 2;

insert into reservoir.pools (person_id, merchant_id, first_seen_at)
select person_id, merchant_id, first_seen_at from reservoir.contacts;

grant select, insert, update on reservoir.takings, reservoir.arrivals, reservoir.pools to dewpond_app;
