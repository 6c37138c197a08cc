-- Which of the platform's keys signs for a merchant, said once: at the wire's door and for callbacks alike (ADR 8).

-- The key it names, if that is the world's or its own and valid; else one of the kind it means: a public key where it
-- names one or names nothing in public-key mode, a certificate otherwise. Where no certificate is valid, the last one
-- goes on signing: another kind of key would be believed by nobody, and tell nobody why.
--
-- One plain select: PostgreSQL puts it in place of the call, so that it costs no more than if it stood there.
create function merchants.choose_platform_key(merchant uuid, mode text, named text, wall_now timestamptz)
returns setof merchants.platform_keys
language sql stable
as $$
  select p.*
  from (
    select o.* from merchants.platform_keys o
    where o.merchant_id = merchant
      and (o.id = named or starts_with(named, 'PUB_KEY_ID_') or named = '' and mode = 'public_key')
    union all
    select w.* from merchants.platform_keys w where w.merchant_id is null
  ) p
  where p.not_before <= wall_now
  order by (p.id = named and coalesce(p.not_after > wall_now, true)) desc,
           (p.merchant_id is not null) desc,
           coalesce(p.not_after > wall_now, true) desc,
           p.not_before desc, p.created_at desc, p.id
  limit 1
$$;
