-- name: create_certificate
insert into merchants.certificates (merchant_id, serial, pem, not_before, not_after, created_at)
values (%(merchant_id)s, %(serial)s, %(pem)s, %(not_before)s, %(not_after)s, %(created_at)s);

-- name: list_certificates
select merchant_id, serial, pem, not_before, not_after, revoked_at from merchants.certificates
where merchant_id = %(merchant_id)s order by created_at, serial;

-- name: revoke_certificate
update merchants.certificates set revoked_at = %(revoked_at)s
where merchant_id = %(merchant_id)s and serial = %(serial)s and revoked_at is null;
