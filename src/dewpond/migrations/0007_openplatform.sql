-- What outsiders are told. No foreign keys between these tables: nothing in them is ever deleted, each row is written by
-- a statement that has just read or written what it refers to, and the checks would be paid at every delivery.

create schema openplatform;
grant usage on schema openplatform to dewpond_app;

create table openplatform.webhook_endpoints (
  merchant_id  uuid not null,
  id           uuid not null,
  url          text not null check (length(url) <= 255),
  created_at   timestamptz not null,
  primary key (merchant_id, id),
  unique (merchant_id, url)
);
comment on table openplatform.webhook_endpoints is 'distributed by merchant_id';

--  pending ──▶ delivered
--     └──────▶ dead         (the schedule has ended; it can be sent again)
create table openplatform.deliveries (
  merchant_id      uuid not null,
  id               uuid not null,             -- follows from fact and endpoint; also the notification's id on the wire
  endpoint_id      uuid not null,
  fact_id          uuid not null,
  event_kind       text not null,
  encoder          text not null,             -- who speaks this merchant's language
  subject_id       uuid not null,             -- the payment or refund it tells of
  status           text not null check (status in ('pending', 'delivered', 'dead')),
  attempts         int not null default 0,    -- all that were made, those asked for by hand included
  slot             int not null default 0,    -- how many places of the schedule are used up
  created_at       timestamptz not null,      -- world time
  next_attempt_at  timestamptz,               -- world time, by the schedule
  asked_at         timestamptz,               -- world time; somebody asked for one attempt beside the schedule
  ended_at         timestamptz,               -- world time
  primary key (merchant_id, id),
  check ((status = 'pending') = (next_attempt_at is not null))
) with (fillfactor = 50);  -- each row is written once more, in place
comment on table openplatform.deliveries is 'distributed by merchant_id';
create index deliveries_newest on openplatform.deliveries (merchant_id, created_at, id);

-- Each try, with what came back.
create table openplatform.delivery_attempts (
  merchant_id   uuid not null,
  delivery_id   uuid not null,
  id            uuid not null,                -- made before the call, so that writing it down twice is once
  number        int not null,
  attempted_at  timestamptz not null,         -- world time
  recorded_at   timestamptz not null,         -- wall time
  elapsed_ms    int not null,
  http_status   int,
  outcome       text not null,                -- 'delivered', or why not, in words
  answer        text,                         -- the beginning of what the merchant said
  body          bytea,                        -- of the first: what is sent, encoded once and signed anew at each
  primary key (merchant_id, delivery_id, id)
);
comment on table openplatform.delivery_attempts is 'distributed by merchant_id';

grant select, insert, update on openplatform.webhook_endpoints, openplatform.deliveries to dewpond_app;
grant select, insert on openplatform.delivery_attempts to dewpond_app;
