-- name: create_staff_member
insert into merchants.staff (id, sign_in_name, name, is_operator, created_at, invited_by)
values (%(id)s, %(sign_in_name)s, %(name)s, %(is_operator)s, %(created_at)s, %(invited_by)s)
on conflict (sign_in_name) do nothing;

-- name: list_staff_members
select id, sign_in_name, name, is_operator, created_at, ended_at, invited_by from merchants.staff
where id = any(%(ids)s::uuid[]) order by id;

-- name: find_staff_members
select id, sign_in_name, name, is_operator, created_at, ended_at, invited_by from merchants.staff
where (sign_in_name = %(sign_in_name)s or name = %(name)s) and ended_at is null order by created_at desc, id desc;

-- name: find_by_sign_in_name
select id, sign_in_name, name, is_operator, created_at, ended_at, invited_by from merchants.staff
where sign_in_name = %(sign_in_name)s;

-- name: newest_staff_members
select id, sign_in_name, name, is_operator, created_at, ended_at, invited_by from merchants.staff
where ended_at is null order by created_at desc, id desc limit %(most)s;

-- name: has_staff
select exists (select from merchants.staff);

-- name: list_operators
select id, sign_in_name, name, is_operator, created_at, ended_at, invited_by from merchants.staff
where is_operator and ended_at is null order by created_at, id;

-- name: lock_operators
-- All of them in one order: two operators who end each other's time at once take turns, and the second finds it ended.
select id from merchants.staff where is_operator and ended_at is null order by id for no key update;

-- name: end_staff_member
update merchants.staff set ended_at = %(ended_at)s where id = %(id)s and ended_at is null;

-- name: end_roles_of
update merchants.roles set ended_at = %(ended_at)s, ended_by = %(ended_by)s
where staff_id = %(staff_id)s and ended_at is null;

-- name: lock_merchant
-- Whoever changes roles of a merchant holds this, so that two owners cannot take each other's role away at once.
select id from merchants.merchants where id = %(id)s for no key update;

-- name: lock_staff_member
select id, sign_in_name, name, is_operator, created_at, ended_at, invited_by from merchants.staff
where id = %(id)s and ended_at is null for no key update;

-- name: list_with_password
select staff_id from merchants.passwords where staff_id = any(%(ids)s::uuid[]);

-- name: lock_present_member
-- Their time cannot end while a role is given to them.
select id from merchants.staff where id = %(id)s and ended_at is null for share;

-- name: list_roles
select merchant_id, staff_id, role from merchants.roles where merchant_id = %(merchant_id)s and ended_at is null;

-- name: list_roles_of
select merchant_id, staff_id, role from merchants.roles
where staff_id = any(%(staff_ids)s::uuid[]) and ended_at is null;

-- name: barred_among
-- Asked often and for many: nothing comes back of those who may.
select u.staff_id, u.merchant_id, u.capability
from unnest(%(staff_ids)s::uuid[], %(merchant_ids)s::uuid[], %(capabilities)s::text[])
     as u(staff_id, merchant_id, capability)
where not exists (
  select from merchants.roles r
  join unnest(%(having)s::text[], %(had)s::text[]) as can(role, capability) on can.role = r.role
  where r.staff_id = u.staff_id and r.merchant_id = u.merchant_id and r.ended_at is null
    and can.capability = u.capability
);

-- name: role_of
-- Where somebody's time ends all their roles end in the same transaction, so this one row says it all.
select role from merchants.roles
where staff_id = %(staff_id)s and merchant_id = %(merchant_id)s and ended_at is null;

-- name: list_merchants_of
select id, number, name, fee_rate_bp, key_mode, created_at from merchants.merchants
where id = any(%(ids)s::uuid[]) order by name, id;

-- name: give_role
insert into merchants.roles (id, merchant_id, staff_id, role, given_at, given_by)
values (%(id)s, %(merchant_id)s, %(staff_id)s, %(role)s, %(given_at)s, %(given_by)s);

-- name: end_role
update merchants.roles set ended_at = %(ended_at)s, ended_by = %(ended_by)s
where merchant_id = %(merchant_id)s and staff_id = %(staff_id)s and ended_at is null;
