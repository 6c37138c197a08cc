-- name: claim_credential
-- Waits for another that is just claiming the same one, and then finds it taken.
insert into identity.credentials (credential_id, holder_id) values (%(credential_id)s, %(holder_id)s)
on conflict do nothing;

-- name: create_passkey
insert into identity.passkeys
  (holder_id, id, realm, credential_id, public_key, sign_count, transports, name, is_backed_up, created_at)
values
  (%(holder_id)s, %(id)s, %(realm)s, %(credential_id)s, %(public_key)s, %(sign_count)s, %(transports)s, %(name)s,
   %(is_backed_up)s, %(created_at)s);

-- name: find_holder
select holder_id from identity.credentials where credential_id = %(credential_id)s;

-- name: lock_passkey
select holder_id, id, realm, credential_id, public_key, sign_count, transports, name, is_backed_up, created_at,
       last_used_at
from identity.passkeys
where holder_id = %(holder_id)s and realm = %(realm)s and credential_id = %(credential_id)s
for no key update;

-- name: use_passkey
update identity.passkeys
set sign_count = %(sign_count)s, is_backed_up = %(is_backed_up)s, last_used_at = %(wall_now)s
where holder_id = %(holder_id)s and id = %(id)s;

-- name: list_passkeys
select holder_id, id, realm, credential_id, public_key, sign_count, transports, name, is_backed_up, created_at,
       last_used_at
from identity.passkeys
where holder_id = %(holder_id)s and realm = %(realm)s
order by id;

-- name: list_passkey_holders
select distinct holder_id from identity.passkeys where holder_id = any(%(holder_ids)s::uuid[]) and realm = %(realm)s;

-- name: rename_passkey
update identity.passkeys set name = %(name)s
where holder_id = %(holder_id)s and id = %(id)s and realm = %(realm)s;

-- name: lock_passkeys
-- All of a holder's, in the order of id: who removes one must know how many are left.
select id from identity.passkeys
where holder_id = %(holder_id)s and realm = %(realm)s order by id for update;

-- name: remove_passkey
delete from identity.passkeys where holder_id = %(holder_id)s and id = %(id)s returning credential_id;

-- name: release_credential
delete from identity.credentials where credential_id = %(credential_id)s;
