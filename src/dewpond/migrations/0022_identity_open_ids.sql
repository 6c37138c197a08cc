-- What shops call those who fell into their pools before a drop brought its open id along: pages that only look make none.
-- An `o` and 27 random letters, as the application draws them; 156 of their bits are random. When they were made is not
-- known here: as of the first time they were met, by the world's clock.
insert into identity.subjects (app_id, person_id, open_id, created_at)
select app_id, person_id,
       'o' || left(translate(encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'base64'), '+/', '-_'), 27),
       min(met_at)
from (select app_id, person_id, first_seen_at as met_at from reservoir.contacts
      union all
      select app_id, person_id, occurred_at from reservoir.touchpoints) met
group by app_id, person_id order by app_id, person_id
on conflict do nothing;
