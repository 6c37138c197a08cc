-- A number for each person, to be told at a desk: nine digits drawn at random and one that catches a slip of the finger.

create function identity.with_check_digit(drawn text) returns text language sql immutable as $$
  -- Luhn's (ISO/IEC 7812-1, annex B): every second digit doubled, from the right
  select drawn || ((10 - sum(case when place % 2 = 1 then (digit * 2) / 10 + (digit * 2) % 10 else digit end) % 10) % 10)::text
  from (select substr(reverse(drawn), place, 1)::int as digit, place from generate_series(1, length(drawn)) as place) d
$$;

create table identity.numbers (
  number     text primary key check (number ~ '^[1-9][0-9]{9}$'),
  person_id  uuid not null
);
comment on table identity.numbers is 'distributed by number';
grant select, insert on identity.numbers to dewpond_app;

alter table identity.people add column number text;

do $$
declare
  one uuid;
  drawn text;
begin
  for one in select id from identity.people order by id loop
    loop
      drawn := identity.with_check_digit(lpad((100000000 + floor(random() * 900000000))::bigint::text, 9, '1'));
      insert into identity.numbers (number, person_id) values (drawn, one) on conflict do nothing;
      exit when found;
    end loop;
    update identity.people set number = drawn where id = one;
  end loop;
end $$;

alter table identity.people alter column number set not null;
