-- name: open_challenge
insert into identity.challenges (id, purpose, realm, value, holder_id, session_id, expires_at)
values (%(id)s, %(purpose)s, %(realm)s, %(value)s, %(holder_id)s, %(session_id)s, %(expires_at)s);

-- name: take_challenge
delete from identity.challenges
where id = %(id)s and purpose = %(purpose)s and realm = %(realm)s
  and session_id is not distinct from %(session_id)s::uuid and expires_at > %(wall_now)s
returning id, value, holder_id;

-- name: open_confirmation
insert into identity.challenges
  (id, purpose, realm, value, holder_id, session_id, merchant_id, payment_id, minor, currency, expires_at)
values
  (%(id)s, 'confirmation', %(realm)s, %(value)s, %(holder_id)s, %(session_id)s, %(merchant_id)s, %(payment_id)s,
   %(minor)s, %(currency)s, %(expires_at)s);

-- name: mark_verified
update identity.challenges set verified_at = %(wall_now)s
where id = %(id)s and purpose = 'confirmation' and holder_id = %(holder_id)s and session_id = %(session_id)s
  and verified_at is null and expires_at > %(wall_now)s
returning value;

-- name: consume_confirmations
-- Locked in the order of id: two batches that bring the same ones cannot wait for each other.
delete from identity.challenges
where id in (
    select id from identity.challenges
    where id = any(%(ids)s::uuid[]) and verified_at is not null and expires_at > %(wall_now)s
    order by id for update
  )
  and holder_id is not null and session_id is not null
  and merchant_id is not null and payment_id is not null and minor is not null and currency is not null
returning id, holder_id, session_id, merchant_id, payment_id, minor, currency;
