-- name: create_top_up
insert into pay.top_ups (person_id, id, minor, currency, occurred_at, by_staff_id, agreed_staff_id, reason)
values (%(person_id)s, %(id)s, %(minor)s, %(currency)s, %(occurred_at)s, %(by_staff_id)s, %(agreed_staff_id)s,
        %(reason)s);

-- name: find_top_up
select person_id, id, minor, currency, occurred_at, by_staff_id, agreed_staff_id, reason
from pay.top_ups where person_id = %(person_id)s and id = %(id)s;

-- name: list_by_staff
select person_id, id, minor, currency, occurred_at, by_staff_id, agreed_staff_id, reason
from pay.top_ups where by_staff_id is not null order by occurred_at desc, id desc limit %(most)s;

-- name: lock_desk
-- All top-ups by staff take turns, few as they are: two of one member would find the same sum otherwise, so would two of
-- their kin, and who is kin is certain only while nobody who has just been let in puts money in.
select pg_advisory_xact_lock(hashtextextended('top-up at the desk', 0));

-- name: lock_door
-- Two taps of one person take turns: neither would find what the other puts in.
select pg_advisory_xact_lock(hashtextextended('top-up by door ' || %(person_id)s::uuid::text, 0));

-- name: sum_alone
select coalesce(sum(minor), 0)::bigint as minor from pay.top_ups
where by_staff_id = any(%(staff_ids)s::uuid[]) and occurred_at >= %(since)s and currency = %(currency)s and agreed_staff_id is null;

-- name: create_proposal
insert into pay.top_up_proposals (person_id, id, minor, currency, status, proposed_staff_id, proposed_at,
                                  ended_staff_id, ended_at, reason)
values (%(person_id)s, %(id)s, %(minor)s, %(currency)s, %(status)s, %(proposed_staff_id)s, %(proposed_at)s,
        %(ended_staff_id)s, %(ended_at)s, %(reason)s);

-- name: find_proposal
select person_id, id, minor, currency, status, proposed_staff_id, proposed_at, ended_staff_id, ended_at, reason
from pay.top_up_proposals where person_id = %(person_id)s and id = %(id)s;

-- name: lock_proposal
select person_id, id, minor, currency, status, proposed_staff_id, proposed_at, ended_staff_id, ended_at, reason
from pay.top_up_proposals where person_id = %(person_id)s and id = %(id)s for no key update;

-- name: end_proposal
update pay.top_up_proposals
set status = %(status)s, ended_staff_id = %(ended_staff_id)s, ended_at = %(ended_at)s
where person_id = %(person_id)s and id = %(id)s;

-- name: list_open_proposals
select person_id, id, minor, currency, status, proposed_staff_id, proposed_at, ended_staff_id, ended_at, reason
from pay.top_up_proposals where status = 'open' order by proposed_at, id limit %(most)s;

-- name: count_open_proposals
select count(*) from pay.top_up_proposals where status = 'open';
