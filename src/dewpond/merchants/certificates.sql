-- name: create_certificate
insert into merchants.certificates (merchant_id, serial, pem, not_before, not_after, created_at)
values (%(merchant_id)s, %(serial)s, %(pem)s, %(not_before)s, %(not_after)s, %(created_at)s);

-- name: list_certificates
select merchant_id, serial, pem, not_before, not_after, revoked_at from merchants.certificates
where merchant_id = %(merchant_id)s order by created_at, serial;

-- name: revoke_certificate
update merchants.certificates set revoked_at = %(revoked_at)s
where merchant_id = %(merchant_id)s and serial = %(serial)s and revoked_at is null;

-- name: find_caller
-- Everything that is needed to know who calls and what time it is, in one look.
select m.id as merchant_id, m.number, m.fee_rate_bp, m.key_mode,
       c.serial, c.pem, c.not_before, c.not_after, c.revoked_at,
       w.kind as world_kind, w.clock_offset, w.frozen_at
from kit.worlds w, merchants.merchants m
left join merchants.certificates c on c.merchant_id = m.id and c.serial = %(serial)s
where m.number = %(number)s;
