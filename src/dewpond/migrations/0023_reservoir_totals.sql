-- What a merchant ever took in, and how many people are in its pool: kept as they grow. Before, every look at a page that
-- shows them added up each hour the shop ever had, eleven thousand after three years.

-- The sum over all of a merchant's takings.
create table reservoir.totals (
  merchant_id     uuid not null,
  currency        text not null,
  payments        bigint not null default 0,
  minor           bigint not null default 0,    -- before refunds
  refunds         bigint not null default 0,
  refunded_minor  bigint not null default 0,
  primary key (merchant_id, currency)
) with (fillfactor = 50);                       -- written over and over, as the present hour's takings are
comment on table reservoir.totals is 'distributed by merchant_id';

-- The sum over all of its arrivals: each contact counts once, whenever they came.
create table reservoir.headcounts (
  merchant_id  uuid primary key,
  people       bigint not null
) with (fillfactor = 50);
comment on table reservoir.headcounts is 'distributed by merchant_id';

-- Nothing is written while it is added up. (A worker of the version before would add nothing: it is stopped first.)
lock table reservoir.touchpoints, reservoir.contacts in share row exclusive mode;

insert into reservoir.totals (merchant_id, currency, payments, minor, refunds, refunded_minor)
select merchant_id, currency, sum(payments), sum(minor), sum(refunds), sum(refunded_minor)
from reservoir.takings group by merchant_id, currency;

insert into reservoir.headcounts (merchant_id, people)
select merchant_id, sum(new_contacts) from reservoir.arrivals group by merchant_id;

grant select, insert, update on reservoir.totals, reservoir.headcounts to dewpond_app;
