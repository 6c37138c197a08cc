-- name: record_act
insert into merchants.acts (id, deed, staff_id, merchant_id, subject, detail, address, occurred_at, recorded_at)
values (%(id)s, %(deed)s, %(staff_id)s, %(merchant_id)s, %(subject)s, %(detail)s, %(address)s, %(occurred_at)s,
        %(recorded_at)s)
on conflict (id) do nothing;

-- name: list_acts
select position, deed, staff_id, merchant_id, subject, detail, address, occurred_at, recorded_at from merchants.acts
where position < coalesce(%(before)s::bigint, 9223372036854775807)
order by position desc limit %(most)s;

-- name: list_acts_by
select position, deed, staff_id, merchant_id, subject, detail, address, occurred_at, recorded_at from merchants.acts
where staff_id = %(staff_id)s and position < coalesce(%(before)s::bigint, 9223372036854775807)
order by position desc limit %(most)s;

-- name: list_acts_at
-- At one merchant, by everybody or by one.
select position, deed, staff_id, merchant_id, subject, detail, address, occurred_at, recorded_at from merchants.acts
where merchant_id = %(merchant_id)s and position < coalesce(%(before)s::bigint, 9223372036854775807)
  and (%(staff_id)s::uuid is null or staff_id = %(staff_id)s)
order by position desc limit %(most)s;
