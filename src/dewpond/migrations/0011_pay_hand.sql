-- Paying by hand: what a person allows, what moved in their wallet, printed codes, and money that two must agree to.

-- What a person allows in one currency. No row: no limits, and no payment without a proof. Sums of a day are not kept
-- here: whoever has this row under lock adds them up from the movements, where they cannot be wrong.
create table pay.limits (
  person_id          uuid not null,
  currency           text not null,
  per_payment_minor  bigint check (per_payment_minor > 0),
  per_day_minor      bigint check (per_day_minor > 0),
  without_pin_minor  bigint not null check (without_pin_minor >= 0),
  set_at             timestamptz not null,           -- wall time
  primary key (person_id, currency)
);
comment on table pay.limits is 'distributed by person_id';
grant select, insert, update on pay.limits to dewpond_app;

-- A person's own list: what came into the wallet and what left it, written in the transaction that moves the money, so
-- that the list always adds up to the balance.
--
-- One index, by which the list is read, for its place in it is all that a payment costs at every confirmation. One
-- movement is found by looking through its person's part of it: a thousand of them are some 60 kB.
create table pay.movements (
  person_id    uuid not null,
  id           uuid not null,                        -- the payment's, the refund's or the top-up's own
  merchant_id  uuid,
  payment_id   uuid,                                 -- of a refund: what was refunded
  occurred_at  timestamptz not null,
  minor        bigint not null,                      -- negative: it left the wallet
  currency     text not null,
  kind         text not null check (kind in ('payment', 'refund', 'top_up')),
  proof        text check (proof in ('pin', 'passkey', 'small_sum')),
  title        text not null,
  primary key (person_id, occurred_at, id),
  check ((merchant_id is null) = (payment_id is null)),
  check ((kind = 'top_up') = (payment_id is null)),
  check ((kind = 'payment') = (proof is not null)),
  check (case when kind = 'payment' then minor < 0 else minor > 0 end)
);
comment on table pay.movements is 'distributed by person_id';
grant select, insert on pay.movements to dewpond_app;

insert into pay.movements (person_id, id, merchant_id, payment_id, occurred_at, minor, currency, kind, proof, title)
select payer_id, id, merchant_id, id, succeeded_at, -minor, currency, 'payment', 'pin', description
from pay.payments where status = 'succeeded'
union all
select p.payer_id, r.id, r.merchant_id, r.payment_id, r.ended_at, r.minor, r.currency, 'refund', null, p.description
from pay.refunds r join pay.payments p on p.merchant_id = r.merchant_id and p.id = r.payment_id
where r.status = 'succeeded'
union all
select person_id, id, null, null, occurred_at, minor, currency, 'top_up', null, ''
from pay.top_ups
order by 1, 5, 2;

-- The console's list of a merchant's payments, newest first. Every opening pays for it, and every confirmation too, for
-- each writes a new version of the row; without it a page would read and sort all that the merchant ever asked for.
-- The newest of a merchant lie side by side in it, so that what is written is in memory. Numbers that were only taken
-- out of use are in no list.
create index payments_newest on pay.payments (merchant_id, opened_at, id) where app_id is not null;

-- What is printed on a poster: it asks for no sum, whoever scans it says how much.
create table pay.standing_codes (
  code         text primary key,
  merchant_id  uuid not null,
  app_id       uuid not null,
  title        text not null check (length(title) between 1 and 64),
  currency     text not null,
  created_at   timestamptz not null,                 -- world time
  ended_at     timestamptz                           -- world time
);
comment on table pay.standing_codes is 'distributed by code: that is all a phone knows';
create index standing_codes_merchant on pay.standing_codes (merchant_id, created_at);
grant select, insert, update on pay.standing_codes to dewpond_app;

-- Who put money in; null: a sandbox's door, or the terminal.
alter table pay.top_ups
  add column by_staff_id      uuid,
  add column agreed_staff_id  uuid,                  -- who agreed, where two were needed
  add constraint top_up_by_two check (agreed_staff_id <> by_staff_id),
  add constraint top_up_agreed_by_staff check (agreed_staff_id is null or by_staff_id is not null);
create index top_ups_staff on pay.top_ups (by_staff_id, occurred_at) where by_staff_id is not null;

--  open ──▶ agreed    (by another than proposed it: the money is in the wallet)
--    └────▶ refused   (by anybody, who proposed it included)
create table pay.top_up_proposals (
  person_id          uuid not null,
  id                 uuid not null,                  -- also of the top-up that becomes of it
  minor              bigint not null check (minor > 0),
  currency           text not null,
  status             text not null check (status in ('open', 'agreed', 'refused')),
  proposed_staff_id  uuid not null,
  proposed_at        timestamptz not null,           -- world time
  ended_staff_id     uuid,
  ended_at           timestamptz,                    -- world time
  primary key (person_id, id),
  check ((status = 'open') = (ended_at is null)),
  check ((ended_at is null) = (ended_staff_id is null)),
  constraint proposal_agreed_by_another check (status <> 'agreed' or ended_staff_id <> proposed_staff_id)
);
comment on table pay.top_up_proposals is 'distributed by person_id';
create index top_up_proposals_open on pay.top_up_proposals (proposed_at, id) where status = 'open';
grant select, insert, update on pay.top_up_proposals to dewpond_app;
