-- The ledger: who holds how much, and every move that made it so.
--
-- The law sits here and not in the application: dewpond_app may read these tables and call the functions that are
-- granted at the end, nothing else. Those run as the owner, with a fixed search path.
--
-- One lock order for all of them, so that no two calls can wait for each other: entry keys, holds, accounts (by id),
-- slips. What is taken before (PIN rows, payments) belongs to higher rooms. READ COMMITTED is relied upon: each
-- statement of a function sees what was committed before it began, so what is read under a lock is true.

create schema ledger;
grant usage on schema ledger to dewpond_app;

-- Accounts --------------------------------------------------------------------------------------------------------

-- The chart of accounts. A floor is how low `balance - held` may go; null: may owe without limit.
create table ledger.chart (
  code        text primary key,
  floor       bigint,
  meaning     text not null
);
comment on table ledger.chart is 'reference';
insert into ledger.chart (code, floor, meaning) values
  ('wallet',    0,    'what a person may spend'),
  ('unsettled', 0,    'what a merchant has earned and was not yet paid out'),
  ('fees',      null, 'what the house keeps'),
  ('bank',      null, 'money outside: negative by what came in, less what went out');

-- `balance` is what was folded so far; what is owed to the holder is balance + slips. The id is derived from holder,
-- code and currency, so nobody looks it up. Balances are updated in place, without touching an index (fillfactor), and
-- only what an update can break is checked at each: the rest is checked at opening (ledger.check_account).
create table ledger.accounts (
  id          uuid primary key,
  owner_id    uuid not null,
  code        text not null,
  currency    text not null,
  balance     bigint not null default 0,
  held        bigint not null default 0,
  floor       bigint,
  opened_at   timestamptz not null,
  constraint held_not_negative check (held >= 0),
  constraint account_not_below_floor check (balance - held >= floor)
) with (fillfactor = 50);
create index accounts_owner on ledger.accounts (owner_id);
comment on table ledger.accounts is 'distributed by id, as account_id elsewhere: a balance, its slips and its statement lie together';

-- Credits not yet in `balance`. Receiving money locks nobody: a slip is appended, the folder adds it up later, or the
-- function that would find a payer short takes it at once. No primary key on purpose: a slip is never looked up.
create table ledger.slips (
  account_id  uuid not null,
  minor       bigint not null
);
create index slips_account on ledger.slips (account_id);
comment on table ledger.slips is 'distributed by account_id';
alter table ledger.slips set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);   -- they come and go

-- Entries ---------------------------------------------------------------------------------------------------------

-- What is posted together, once per key. `content` is a digest of the transfers (ledger.content_of), so that the same
-- key with another content is refused. `occurred_at` is world time, `recorded_at` wall time.
create table ledger.entries (
  key         uuid primary key,
  content     uuid not null,
  occurred_at timestamptz not null,
  recorded_at timestamptz not null
);
comment on table ledger.entries is
  'distributed by key: a key is unique in the whole book, whoever pays, so it cannot lie with the payer;'
  ' an entry lies with its transfers, and posting it across shards is a two-phase commit';

create table ledger.transfers (
  entry_key   uuid not null,
  n           smallint not null,
  debit       uuid not null,
  credit      uuid not null,
  minor       bigint not null,
  currency    text not null,
  primary key (entry_key, n),
  constraint transfer_is_positive check (minor > 0),
  constraint transfer_has_two_sides check (debit <> credit)
);
comment on table ledger.transfers is 'distributed by entry_key, with ledger.entries';

-- Which entry was undone by which; an entry can be undone once.
create table ledger.reversals (
  entry_key   uuid primary key,
  key         uuid not null
);
comment on table ledger.reversals is 'distributed by entry_key, with ledger.entries';

-- Holds -----------------------------------------------------------------------------------------------------------

-- Money reserved on an account:  pending ──▶ posted (whole or in part) | voided | expired
create table ledger.holds (
  key          uuid primary key,
  account_id   uuid not null,
  minor        bigint not null check (minor > 0),
  currency     text not null,
  status       text not null default 'pending' check (status in ('pending', 'posted', 'voided', 'expired')),
  occurred_at  timestamptz not null,
  recorded_at  timestamptz not null,
  expires_at   timestamptz,
  ended_at     timestamptz,
  posted_minor bigint check (posted_minor between 1 and minor),
  entry_key    uuid,
  constraint hold_ends_once check ((status = 'pending') = (ended_at is null)),
  constraint hold_posted_by_entry check ((status = 'posted') = (entry_key is not null and posted_minor is not null))
);
create index holds_expiry on ledger.holds (expires_at) where status = 'pending';
create index holds_account on ledger.holds (account_id) where status = 'pending';
comment on table ledger.holds is
  'distributed by key: void and post know the hold by its key alone; its account may lie elsewhere';

-- Statements ------------------------------------------------------------------------------------------------------

-- A statement lists transfers by account and time. Two indexes on ledger.transfers would serve it, at about a quarter
-- of the speed of posting. Instead each posting call leaves one row with its keys here, and a worker copies the
-- transfers into lines, in bulk and sorted, when there is time. Readers add what still waits, so nothing is late.
create table ledger.unlisted (
  keys        uuid[] not null
);
alter table ledger.unlisted alter column keys set storage external;   -- random bytes do not compress
comment on table ledger.unlisted is 'local';

create table ledger.statement_lines (
  account_id  uuid not null,
  occurred_at timestamptz not null,
  entry_key   uuid not null,
  n           smallint not null,
  minor       bigint not null,               -- negative: the account was debited
  other_id    uuid not null,                 -- the account on the other side
  primary key (account_id, occurred_at, entry_key, n)
);
comment on table ledger.statement_lines is 'distributed by account_id';

-- Nothing is edited or deleted -------------------------------------------------------------------------------------

-- Against slips of the owner's hand; the application's role cannot write at all.
create function ledger.refuse_change() returns trigger language plpgsql as $$
begin
  raise exception 'ledger.% is never changed by %: reverse the entry', tg_table_name, lower(tg_op)
    using errcode = 'restrict_violation';
end $$;

-- By statement, for a trigger by row would make each balance update dearer.
create trigger keep_accounts before update of id, owner_id, code, currency, floor, opened_at or delete on ledger.accounts
  execute function ledger.refuse_change();
create trigger keep_slips before update on ledger.slips
  for each row execute function ledger.refuse_change();
create trigger keep_entries before update on ledger.entries
  for each row execute function ledger.refuse_change();
create trigger keep_transfers before update or delete on ledger.transfers
  for each row execute function ledger.refuse_change();
create trigger keep_reversals before update on ledger.reversals
  for each row execute function ledger.refuse_change();
create trigger keep_whole_accounts before truncate on ledger.accounts execute function ledger.refuse_change();
create trigger keep_whole_slips before truncate on ledger.slips execute function ledger.refuse_change();
create trigger keep_whole_entries before truncate on ledger.entries execute function ledger.refuse_change();
create trigger keep_whole_transfers before truncate on ledger.transfers execute function ledger.refuse_change();
create trigger keep_whole_reversals before truncate on ledger.reversals execute function ledger.refuse_change();
create trigger keep_whole_holds before truncate on ledger.holds execute function ledger.refuse_change();

-- A refused entry gives its key back inside the call that took it: it never had transfers. No other may go.
create function ledger.release_key() returns trigger language plpgsql as $$
begin
  if exists (select from ledger.transfers where entry_key = old.key) then
    raise exception 'ledger.entries is never changed by delete: reverse the entry' using errcode = 'restrict_violation';
  end if;
  return old;
end $$;
create trigger release_key before delete on ledger.entries for each row execute function ledger.release_key();

-- Likewise a reversal that was refused left no entry.
create function ledger.release_reversal() returns trigger language plpgsql as $$
begin
  if exists (select from ledger.entries where key = old.key) then
    raise exception 'ledger.reversals is never changed by delete' using errcode = 'restrict_violation';
  end if;
  return old;
end $$;
create trigger release_reversal before delete on ledger.reversals
  for each row execute function ledger.release_reversal();

-- A hold ends once and is then history. A pending one may go only because a refused one gives its key back.
create function ledger.keep_hold() returns trigger language plpgsql as $$
begin
  if old.status <> 'pending' or tg_op = 'UPDATE' and
     (new.key, new.account_id, new.minor, new.currency, new.occurred_at, new.recorded_at, new.expires_at)
     is distinct from
     (old.key, old.account_id, old.minor, old.currency, old.occurred_at, old.recorded_at, old.expires_at) then
    raise exception 'ledger.holds is never changed by % once ended', lower(tg_op) using errcode = 'restrict_violation';
  end if;
  return case when tg_op = 'DELETE' then old else new end;
end $$;
create trigger keep_hold before update or delete on ledger.holds for each row execute function ledger.keep_hold();

-- Opening accounts -------------------------------------------------------------------------------------------------

-- A new account is empty, stands in the chart and has the chart's floor.
create function ledger.check_account() returns trigger language plpgsql as $$
begin
  select floor into strict new.floor from ledger.chart where code = new.code;      -- an unknown code is no_data_found
  if new.currency = '' or new.balance <> 0 or new.held <> 0 then
    raise exception 'a new account is empty and has a currency' using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger check_account before insert on ledger.accounts
  for each row execute function ledger.check_account();

-- Opening one again changes nothing.
create function ledger.open_accounts(
  p_ids uuid[], p_owners uuid[], p_codes text[], p_currencies text[], p_opened_at timestamptz
) returns void language sql security definer set search_path = ledger, pg_temp as $$
  insert into accounts (id, owner_id, code, currency, opened_at)
  select id, owner_id, code, currency, p_opened_at
  from unnest(p_ids, p_owners, p_codes, p_currencies) u (id, owner_id, code, currency) order by id
  on conflict do nothing
$$;

-- Posting ----------------------------------------------------------------------------------------------------------

-- The two legs of each transfer. Only ever inlined: it costs nothing.
create function ledger.legs(t_entry int[], t_debit uuid[], t_credit uuid[], t_minor bigint[])
returns table (entry int, account uuid, minor bigint) language sql immutable as $$
  select e, d, -m from unnest(t_entry, t_debit, t_minor) t (e, d, m)
  union all
  select e, c, m from unnest(t_entry, t_credit, t_minor) t (e, c, m)
$$;

-- The second half of `post`, for a batch in which somebody may be short or unknown. Looks at the suspect entries one by
-- one, folds the slips of those who are short, says who is refused and why, and what the rest moves per account.
create function ledger.judge(
  t_entry int[], t_debit uuid[], t_credit uuid[], t_minor bigint[], t_currency text[],
  p_out int[],                                  -- entries that are out already
  p_strangers uuid[],                           -- accounts that do not exist, or not in the batch's currency
  p_short uuid[],                               -- locked payers whose folded balance does not cover the whole batch
  out refused int[], out words text[],
  out ids uuid[], out gives bigint[], out gets bigint[]
) language plpgsql as $$
#variable_conflict use_column
declare
  n_entry int[]; n_account uuid[]; n_net bigint[];       -- nets: one element per entry and account
  s_entry int[]; s_account uuid[]; s_net bigint[];       -- of these, the ones on accounts that are short
  f_account uuid[]; f_minor bigint[];                    -- what was folded
  suspects  int[];
  rescued   uuid[] := '{}';
  fits      boolean;
  v         record;
begin
  refused := '{}'; words := '{}';
  select array_agg(entry), array_agg(account), array_agg(net) into n_entry, n_account, n_net
  from (select entry, account, sum(minor)::bigint as net from legs(t_entry, t_debit, t_credit, t_minor)
        where entry <> all (p_out) group by entry, account) nets;
  suspects := array(
    select distinct e from unnest(n_entry, n_account, n_net) n (e, a, net)
    where a in (select unnest(p_strangers)) or net < 0 and a in (select unnest(p_short)));

  with folded as (delete from slips where account_id = any (p_short) returning account_id, minor)
  select coalesce(array_agg(account_id), '{}'), coalesce(array_agg(total), '{}') into f_account, f_minor
  from (select account_id, sum(minor)::bigint as total from folded group by account_id) f;

  -- First look: each suspect behind all that was asked of its payers before it, whether that was granted or not.
  -- Line 0 of an account is the account itself and what was folded into it.
  for v in
    with legs as (
      select e, d as a, -m as x, cur from unnest(t_entry, t_debit, t_minor, t_currency) t (e, d, m, cur)
      union all
      select e, c, m, cur from unnest(t_entry, t_credit, t_minor, t_currency) t (e, c, m, cur)
    ), lines as (
      select a, e, sum(x) as net, bool_or(x < 0) as debited, min(cur) as lowest, max(cur) as highest,
             null::text as currency, null::boolean as floored, least(sum(x), 0) as free
      from legs where e in (select unnest(suspects)) group by e, a
      union all
      select id, 0, 0, null, null, null, currency, floor is not null, balance - held - coalesce(floor, 0)
      from accounts where id = any (
        array(select distinct a from unnest(n_entry, n_account) n (e, a) where e in (select unnest(suspects))))
      union all
      select a, 0, 0, null, null, null, null, null, m from unnest(f_account, f_minor) f (a, m)
    ), judged as (
      select e, debited, lowest, highest, max(currency) over upto as currency,
             net < 0 and sum(free) over upto < 0 and bool_and(floored) over upto as short
      from lines window upto as (partition by a order by e rows unbounded preceding)
    )
    select e,
      case when bool_or(currency is null and debited)               then 'no_debit_account'
           when bool_or(currency is null)                           then 'no_credit_account'
           when bool_or(lowest <> currency or highest <> currency)  then 'currency_differs'
           else 'insufficient' end as word
    from judged where e > 0
    group by e having bool_or(currency is null or lowest <> currency or highest <> currency or short)
    order by e
  loop
    refused := refused || v.e; words := words || v.word;
  end loop;

  -- Second look: was it short only because of a bigger one that was refused, or would money of this batch cover it?
  select coalesce(array_agg(e), '{}'), array_agg(a), array_agg(net) into s_entry, s_account, s_net
  from unnest(n_entry, n_account, n_net) n (e, a, net) where a in (select unnest(p_short));
  for v in select e from unnest(refused, words) r (e, word) where word = 'insufficient' order by e loop
    select bool_and(account.free + coalesce(moved.net, 0) + mine.net >= 0) into fits
    from (select a, net from unnest(s_entry, s_account, s_net) n (e, a, net) where e = v.e and net < 0) mine
    join (select id, balance - held - floor
                 + coalesce((select m from unnest(f_account, f_minor) f (a, m) where a = id), 0) as free
          from accounts where id = any (p_short)) account on account.id = mine.a
    left join lateral (select sum(net) as net from unnest(s_entry, s_account, s_net) n (e, a, net)
                       where a = mine.a and e <> all (refused)) moved on true;
    if fits then
      words := words[:array_position(refused, v.e) - 1] || words[array_position(refused, v.e) + 1:];
      refused := array_remove(refused, v.e);
      rescued := rescued || array(
        select a from unnest(s_entry, s_account, s_net) n (e, a, net) where e = v.e and net < 0);
    end if;
  end loop;

  -- Per account, without the refused. Where a credit of this batch was relied upon it goes straight to the balance.
  select array_agg(a), array_agg(nullif(minus, 0)), array_agg(plus) into ids, gives, gets
  from (
    select a, sum(case when direct then net else 0 end)::bigint as minus,
              sum(case when direct then 0 else net end)::bigint as plus
    from (
      select a, net, net < 0 or a = any (rescued) as direct
      from unnest(n_entry, n_account, n_net) n (e, a, net) where e <> all (refused)
      union all
      select a, m, true from unnest(f_account, f_minor) f (a, m)
    ) moves group by a
  ) sums;
end $$;

-- Post a batch of entries, each whole or not at all; one word per entry, in order. Parameters p_ have one element per
-- entry, t_ one per transfer; t_entry says which entry, from 1.
--
-- The clean part of a batch goes set-based; only entries that touch a payer found short or an unknown account are
-- judged singly (`judge`), for a real batch always holds one odd entry and must not fall back because of it.
--
-- Precedence: invalid, repeat / key_reused, no_debit_account, no_credit_account, currency_differs, insufficient.
create function ledger.post(
  p_keys uuid[], p_contents uuid[], p_occurred_at timestamptz[], p_recorded_at timestamptz,
  t_entry int[], t_debit uuid[], t_credit uuid[], t_minor bigint[], t_currency text[]
) returns text[] language plpgsql security definer set search_path = ledger, pg_temp as $$
#variable_conflict use_column
declare
  size      int := coalesce(cardinality(p_keys), 0);
  verdict   text[] := array_fill('posted'::text, array[size]);
  refused   int[] := '{}';
  unsound   int; sound_entries int; money text;          -- money: the batch's one currency, or null
  fresh     uuid[];                                      -- keys that this call took
  ids       uuid[]; gives bigint[]; gets bigint[];       -- per account; gives is negative or null
  payers    uuid[];
  locked    uuid[]; short uuid[]; known int;
  unfloored uuid[] := '{}';                              -- payers without a floor, and unknown ones
  strangers uuid[] := '{}';
  judged    record;
  v         record;
begin
  if size = 0 then return '{}'; end if;

  -- 1. Wrong in itself.
  select count(*) filter (where (e between 1 and size and d <> c and m between 1 and 1000000000000000
                                 and cur is not null) is not true),
         count(distinct e) filter (where e between 1 and size),
         case when min(cur) = max(cur) then min(cur) end
    into unsound, sound_entries, money
  from unnest(t_entry, t_debit, t_credit, t_minor, t_currency) t (e, d, c, m, cur);
  if unsound > 0 or sound_entries < size then
    refused := array(
      select e from unnest(t_entry, t_debit, t_credit, t_minor, t_currency) t (e, d, c, m, cur)
      where e between 1 and size and (d <> c and m between 1 and 1000000000000000 and cur is not null) is not true
      union
      select e from generate_series(1, size) e where e not in (select unnest(t_entry)));
    for v in select unnest(refused) as e loop verdict[v.e] := 'invalid'; end loop;
  end if;

  -- 2. Keys, before any account, in key order: whoever else held one has ended when this returns. Only because they are
  --    ours from here on may a credit of this batch be relied upon. `on conflict` is the dear way, so only after a clash.
  begin
    insert into entries (key, content, occurred_at, recorded_at)
    select k, c, at, p_recorded_at from unnest(p_keys, p_contents, p_occurred_at) with ordinality u (k, c, at, e)
    where e <> all (refused) order by k, e;
  exception when unique_violation then
    with taken as (
      insert into entries (key, content, occurred_at, recorded_at)
      select k, c, at, p_recorded_at from unnest(p_keys, p_contents, p_occurred_at) with ordinality u (k, c, at, e)
      where e <> all (refused) order by k, e            -- of equal keys the first is taken
      on conflict do nothing returning key
    )
    select coalesce(array_agg(key), '{}') into fresh from taken;
    for v in
      select u.e, case when entries.content = u.c then 'repeat' else 'key_reused' end as word
      from (select k, c, e, row_number() over (partition by k order by e) as copy
            from unnest(p_keys, p_contents) with ordinality u (k, c, e) where e <> all (refused)) u
      left join entries on entries.key = u.k
      where u.copy > 1 or u.k not in (select unnest(fresh))
    loop
      verdict[v.e] := v.word; refused := refused || v.e::int;
    end loop;
  end;

  -- 3. The net of each entry per account, then of the batch: what it gives, what it gets.
  select array_agg(account order by account), array_agg(nullif(minus, 0) order by account),
         array_agg(plus order by account), coalesce(array_agg(account) filter (where minus < 0), '{}')
    into ids, gives, gets, payers
  from (
    select account, sum(least(net, 0))::bigint as minus, sum(greatest(net, 0))::bigint as plus
    from (select account, sum(minor) as net from legs(t_entry, t_debit, t_credit, t_minor)
          where entry <> all (refused) group by entry, account) nets
    group by account
  ) sums;
  if ids is null then return verdict; end if;

  -- 4. The only lock pass: all payers that have a floor, in id order.
  select coalesce(array_agg(id), '{}'), coalesce(array_agg(id) filter (where free + give < 0), '{}'),
         count(*) filter (where currency = money)
    into locked, short, known
  from (select a.id, u.give, a.balance - a.held - a.floor as free, a.currency
        from unnest(ids, gives) u (id, give) join accounts a on a.id = u.id
        where u.give < 0 and a.floor is not null order by a.id for no key update of a) payer;
  if cardinality(locked) < cardinality(payers) then
    unfloored := array(select unnest(payers) except select unnest(locked));
  end if;
  select known + count(*) into known from accounts
  where currency = money
    and id = any (array(select id from unnest(ids, gives) u (id, give) where give is null or id = any (unfloored)));

  -- 5. Somebody is short or unknown: the suspects alone, one by one.
  if known < cardinality(ids) or cardinality(short) > 0 then
    if known < cardinality(ids) then
      strangers := array(select unnest(ids) except
                         select id from accounts where id = any (ids) and currency = money);
    end if;
    judged := judge(t_entry, t_debit, t_credit, t_minor, t_currency, refused, strangers, short);
    for v in select * from unnest(judged.refused, judged.words) r (e, word) loop verdict[v.e] := v.word; end loop;
    delete from entries where key = any (array(select p_keys[e] from unnest(judged.refused) e));
    refused := refused || judged.refused;
    ids := judged.ids; gives := judged.gives; gets := judged.gets;
    if ids is null then return verdict; end if;
    update accounts set balance = balance + u.give from unnest(ids, gives) u (account, give)
    where id = u.account and u.give > 0;
  end if;

  -- 6. Write. Apart from the rescued above, only payers with a floor are updated, and they are locked.
  insert into transfers (entry_key, n, debit, credit, minor, currency)
  select p_keys[e], row_number() over (partition by e order by o), d, c, m, cur
  from unnest(t_entry, t_debit, t_credit, t_minor, t_currency) with ordinality t (e, d, c, m, cur, o)
  where e <> all (refused);
  update accounts set balance = balance + u.give from unnest(ids, gives) u (account, give)
  where id = u.account and u.give < 0 and floor is not null;
  insert into slips (account_id, minor)
  select id, get + case when id = any (unfloored) then coalesce(give, 0) else 0 end
  from unnest(ids, gives, gets) u (id, give, get)
  where get > 0 or id = any (unfloored);
  if cardinality(refused) < size then
    insert into unlisted (keys) values (case when refused = '{}' then p_keys else
      array(select p_keys[e] from generate_series(1, size) e where e <> all (refused)) end);
  end if;
  return verdict;
end $$;

-- Post one entry, by straight lines: the short road for a batch of one, with the same outcomes in the same precedence.
--
-- With p_hold it is posted out of a hold, which ends: the entry takes the whole or a part of it from the held account,
-- what it does not take is available again, all in one step. Besides the words of `post` the answer may then be
-- no_hold or hold_ended; an entry that takes more than is held, or nothing, is invalid.
--
-- Generic plans are forced: the planner would see gain in planning anew for each length of an array, at every call, and
-- that alone was half of the time. (`post` is left alone: for hundreds of entries it made no difference.)
create function ledger.post_one(
  p_key uuid, p_content uuid, p_occurred_at timestamptz, p_recorded_at timestamptz,
  p_debit uuid[], p_credit uuid[], p_minor bigint[], p_currency text[], p_hold uuid default null
) returns text language plpgsql security definer
set plan_cache_mode = force_generic_plan set search_path = ledger, pg_temp as $$
#variable_conflict use_column
declare
  money   text := p_currency[1];
  ids     uuid[] := '{}'; nets bigint[] := '{}';
  payers  uuid[] := '{}'; gives bigint[] := '{}';
  locked  uuid[]; short uuid[];                          -- payers with a floor; those of them who lack money
  known   int; mixed boolean := false;
  hold    holds;
  taken   bigint;
  word    text;
  at      int;
begin
  -- 1. Wrong in itself; and the net per account.
  if coalesce(cardinality(p_debit), 0) = 0 then return 'invalid'; end if;
  for i in 1 .. cardinality(p_debit) loop
    if (p_debit[i] <> p_credit[i] and p_minor[i] between 1 and 1000000000000000 and p_currency[i] is not null)
       is not true then
      return 'invalid';
    end if;
    mixed := mixed or p_currency[i] <> money;
    at := array_position(ids, p_debit[i]);
    if at is null then ids := ids || p_debit[i]; nets := nets || -p_minor[i];
    else nets[at] := nets[at] - p_minor[i]; end if;
    at := array_position(ids, p_credit[i]);
    if at is null then ids := ids || p_credit[i]; nets := nets || p_minor[i];
    else nets[at] := nets[at] + p_minor[i]; end if;
  end loop;
  for i in 1 .. cardinality(ids) loop
    if nets[i] < 0 then payers := payers || ids[i]; gives := gives || nets[i]; end if;
  end loop;

  -- 2. The key.
  insert into entries (key, content, occurred_at, recorded_at)
  values (p_key, p_content, p_occurred_at, p_recorded_at) on conflict do nothing;
  if not found then
    return (select case when content = p_content then 'repeat' else 'key_reused' end from entries where key = p_key);
  end if;

  -- 3. The hold.
  if p_hold is not null then
    select * into hold from holds where key = p_hold for no key update;
    at := array_position(ids, hold.account_id);
    taken := -nets[at];
    word := case when hold.key is null then 'no_hold'
                 when hold.status <> 'pending' or hold.expires_at <= p_occurred_at then 'hold_ended'
                 when (taken between 1 and hold.minor) is not true then 'invalid' end;
    if word is not null then
      delete from entries where key = p_key;
      return word;
    end if;
  end if;

  -- 4. The payers, locked in id order, and whether everybody is known.
  select coalesce(array_agg(id), '{}'), coalesce(array_agg(id) filter (where free + give < 0), '{}')
    into locked, short
  from (select a.id, u.give, a.balance - a.held - a.floor + case when a.id = hold.account_id then hold.minor else 0 end
               as free
        from unnest(payers, gives) u (id, give) join accounts a on a.id = u.id
        where a.floor is not null or a.id = hold.account_id order by a.id for no key update of a) payer;
  select count(*) into known from accounts where id = any (ids) and currency = money;
  if mixed or known < cardinality(ids) then
    select case when bool_or(a.id is null and debited)  then 'no_debit_account'
                when bool_or(a.id is null)              then 'no_credit_account'
                when bool_or(a.currency <> leg.currency) then 'currency_differs' end
      into word
    from (select id, true, cur from unnest(p_debit, p_currency) t (id, cur)
          union all
          select id, false, cur from unnest(p_credit, p_currency) t (id, cur)) leg (id, debited, currency)
    left join accounts a on a.id = leg.id;
  end if;
  if word is null and cardinality(short) > 0 then
    with folded as (delete from slips where account_id = any (short) returning account_id, minor)
    update accounts a set balance = a.balance + f.total
    from (select account_id, sum(minor)::bigint as total from folded group by account_id) f where a.id = f.account_id;
    if exists (select from unnest(payers, gives) u (id, give) join accounts a on a.id = u.id
               where a.id = any (short) and a.balance - a.held - a.floor + u.give
                     + case when a.id = hold.account_id then hold.minor else 0 end < 0) then
      word := 'insufficient';
    end if;
  end if;
  if word is not null then
    delete from entries where key = p_key;
    return word;
  end if;

  -- 5. Write.
  insert into transfers (entry_key, n, debit, credit, minor, currency)
  select p_key, n, d, c, m, cur
  from unnest(p_debit, p_credit, p_minor, p_currency) with ordinality t (d, c, m, cur, n);
  update accounts a
  set balance = a.balance + u.give, held = a.held - case when a.id = hold.account_id then hold.minor else 0 end
  from unnest(payers, gives) u (id, give) where a.id = u.id and a.id = any (locked);
  insert into slips (account_id, minor)
  select id, net from unnest(ids, nets) u (id, net) where net <> 0 and id <> all (locked);
  insert into unlisted (keys) values (array[p_key]);
  if p_hold is not null then
    update holds set status = 'posted', ended_at = p_occurred_at, posted_minor = taken, entry_key = p_key
    where key = p_hold;
  end if;
  return 'posted';
end $$;

-- Undo an entry by a new one with its sides exchanged, once. The answer may also be no_entry or already_reversed.
create function ledger.reverse(p_entry uuid, p_key uuid, p_occurred_at timestamptz, p_recorded_at timestamptz)
returns text language plpgsql security definer set search_path = ledger, pg_temp as $$
#variable_conflict use_column
declare
  debits uuid[]; credits uuid[]; minors bigint[]; currencies text[];
  fresh  boolean;
  word   text;
begin
  select array_agg(debit order by n desc), array_agg(credit order by n desc), array_agg(minor order by n desc),
         array_agg(currency order by n desc)
    into debits, credits, minors, currencies from transfers where entry_key = p_entry;
  if debits is null then return 'no_entry'; end if;
  insert into reversals (entry_key, key) values (p_entry, p_key) on conflict do nothing;
  fresh := found;
  if not fresh and not exists (select from reversals where entry_key = p_entry and key = p_key) then
    return 'already_reversed';
  end if;
  word := post_one(p_key, content_of(credits, debits, minors, currencies, p_entry), p_occurred_at, p_recorded_at,
                   credits, debits, minors, currencies);
  if fresh and word <> 'posted' then
    delete from reversals where entry_key = p_entry;
  end if;
  return word;
end $$;

-- The digest that is an entry's `content`, as the application makes it: of the transfers in order, and of the hold it
-- was posted out of or the entry it undoes.
create function ledger.content_of(p_debit uuid[], p_credit uuid[], p_minor bigint[], p_currency text[], p_about uuid)
returns uuid language sql immutable set search_path = pg_catalog as $$
  select encode(substring(sha256(
    coalesce(uuid_send(p_about), '') ||
    string_agg(uuid_send(d) || uuid_send(c) || int8send(m) || convert_to(cur, 'UTF8') || '\x00', '' order by n)
  ) for 16), 'hex')::uuid
  from unnest(p_debit, p_credit, p_minor, p_currency) with ordinality t (d, c, m, cur, n)
$$;

-- Holds ------------------------------------------------------------------------------------------------------------

-- Reserve money; one word per hold, in order, in the precedence of `post`.
create function ledger.hold(
  p_keys uuid[], p_accounts uuid[], p_minors bigint[], p_currencies text[],
  p_occurred_at timestamptz[], p_expires_at timestamptz[], p_recorded_at timestamptz
) returns text[] language plpgsql security definer
set plan_cache_mode = force_generic_plan set search_path = ledger, pg_temp as $$
#variable_conflict use_column
declare
  words   text[] := '{}';
  fresh   uuid[];
  account accounts;
  word    text;
  h       record;
begin
  -- Keys first, then accounts, each in order; a refused hold gives its key back.
  with taken as (
    insert into holds (key, account_id, minor, currency, occurred_at, recorded_at, expires_at)
    select k, a, m, cur, at, p_recorded_at, until
    from unnest(p_keys, p_accounts, p_minors, p_currencies, p_occurred_at, p_expires_at)
      with ordinality u (k, a, m, cur, at, until, i)
    where a is not null and m between 1 and 1000000000000000 and cur is not null and (until <= at) is not true
    order by k, i on conflict do nothing returning key
  )
  select coalesce(array_agg(key), '{}') into fresh from taken;
  perform from accounts where id = any (p_accounts) order by id for no key update;

  for h in
    select *, row_number() over (partition by k, sound order by i) > 1 or k <> all (fresh) as known
    from (select *, (a is not null and m between 1 and 1000000000000000 and cur is not null
                     and (until <= at) is not true) is true as sound
          from unnest(p_keys, p_accounts, p_minors, p_currencies, p_occurred_at, p_expires_at)
            with ordinality u (k, a, m, cur, at, until, i)) u
    order by i
  loop
    word := null;
    select * into account from accounts where id = h.a;
    if not h.sound then
      word := 'invalid';
    elsif h.known then
      words := words || coalesce(
        (select case when (account_id, minor, currency) = (h.a, h.m, h.cur) then 'repeat' else 'key_reused' end
         from holds where key = h.k), 'repeat');           -- a second copy of one that was just refused
      continue;
    elsif account.id is null then
      word := 'no_debit_account';
    elsif account.currency <> h.cur then
      word := 'currency_differs';
    elsif account.balance - account.held - account.floor < h.m then
      with folded as (delete from slips where account_id = h.a returning minor)
      update accounts set balance = balance + (select coalesce(sum(minor), 0)::bigint from folded) where id = h.a
      returning * into account;
      if account.balance - account.held - account.floor < h.m then word := 'insufficient'; end if;
    end if;
    if word is null then
      update accounts set held = held + h.m where id = h.a;
    elsif h.sound then
      delete from holds where key = h.k;
    end if;
    words := words || coalesce(word, 'posted');
  end loop;
  return words;
end $$;

-- Give back what a hold reserves. True if it is void now, also when it was before.
create function ledger.void_hold(p_key uuid, p_at timestamptz)
returns boolean language plpgsql security definer set search_path = ledger, pg_temp as $$
declare
  hold holds;
begin
  select * into hold from holds where key = p_key for no key update;
  if hold.status is distinct from 'pending' then return coalesce(hold.status = 'voided', false); end if;
  update accounts set held = held - hold.minor where id = hold.account_id;
  update holds set status = 'voided', ended_at = p_at where key = p_key;
  return true;
end $$;

-- Write down which holds have expired by world time, and give back what they reserve; how many.
create function ledger.expire_holds(p_now timestamptz, p_most int)
returns int language plpgsql security definer set search_path = ledger, pg_temp as $$
declare
  due uuid[];
begin
  select array_agg(key) into due from (
    select key from holds where status = 'pending' and expires_at <= p_now
    order by expires_at limit p_most for no key update skip locked) h;
  if due is null then return 0; end if;
  perform from accounts where id in (select account_id from holds where key = any (due))
  order by id for no key update;
  update accounts a set held = a.held - h.total
  from (select account_id, sum(minor)::bigint as total from holds where key = any (due) group by account_id) h
  where a.id = h.account_id;
  update holds set status = 'expired', ended_at = expires_at where key = any (due);
  return cardinality(due);
end $$;

-- The folder -------------------------------------------------------------------------------------------------------

-- Add slips up into balances, the accounts with most slips first; how many slips. Accounts that are being paid from
-- are left for the next time. Only who has locked an account takes its slips.
create function ledger.fold(p_most int)
returns bigint language plpgsql security definer set search_path = ledger, pg_temp as $$
declare
  ids    uuid[];
  folded bigint;
begin
  select array_agg(account_id) into ids
  from (select account_id from slips group by account_id order by count(*) desc limit p_most) s;
  select array_agg(id) into ids
  from (select id from accounts where id = any (ids) order by id for no key update skip locked) a;
  with taken as (
    delete from slips where account_id = any (ids) returning account_id, minor
  ), added as (
    update accounts a set balance = a.balance + t.total
    from (select account_id, sum(minor)::bigint as total from taken group by account_id) t where a.id = t.account_id
  )
  select count(*) into folded from taken;
  return folded;
end $$;

-- Copy about p_most posted entries into statement lines; how many. Several workers may do this at once.
create function ledger.write_statements(p_most int)
returns bigint language plpgsql security definer set search_path = ledger, pg_temp as $$
declare
  calls tid[];
  moved uuid[];
begin
  select array_agg(call) into calls
  from (select ctid as call, sum(cardinality(keys)) over (order by ctid) - cardinality(keys) as before
        from (select ctid, keys from unlisted limit p_most for update skip locked) locked) c
  where before < p_most;
  if calls is null then return 0; end if;
  with taken as (delete from unlisted where ctid = any (calls) returning keys)
  select array_agg(key) into moved from taken, unnest(keys) key;
  insert into statement_lines (account_id, occurred_at, entry_key, n, minor, other_id)
  select side.account_id, e.occurred_at, t.entry_key, t.n, side.minor, side.other_id
  from unnest(moved) taken (key)
  join entries e on e.key = taken.key
  join transfers t on t.entry_key = taken.key,
  lateral (values (t.debit, -t.minor, t.credit), (t.credit, t.minor, t.debit)) side (account_id, minor, other_id)
  order by side.account_id, e.occurred_at;
  return cardinality(moved);
end $$;

-- Rights -----------------------------------------------------------------------------------------------------------

revoke all on all functions in schema ledger from public;
grant select on all tables in schema ledger to dewpond_app;
grant execute on function ledger.open_accounts, ledger.post, ledger.post_one, ledger.reverse, ledger.hold,
  ledger.void_hold, ledger.expire_holds, ledger.fold, ledger.write_statements, ledger.content_of to dewpond_app;
