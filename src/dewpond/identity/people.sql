-- name: create_person
insert into identity.people (id, number, name, created_at, is_demo)
values (%(id)s, %(number)s, %(name)s, %(created_at)s, %(is_demo)s);

-- name: draw_number
insert into identity.numbers (number, person_id) values (%(number)s, %(person_id)s) on conflict do nothing;

-- name: find_by_number
select person_id from identity.numbers where number = %(number)s;

-- name: list_people
select id, number, name, created_at, is_demo from identity.people where id = any(%(ids)s::uuid[]) order by id;

-- name: find_people_by_name
select id, number, name, created_at, is_demo from identity.people where name = %(name)s order by created_at desc, id desc;

-- name: newest_people
select id, number, name, created_at, is_demo from identity.people order by id desc limit %(most)s;

-- name: count_people
select count(*) from identity.people;

-- name: list_demo_people
-- Ids begin with their time, so the first and the last of them are the ends of the primary key.
(select id, number, name, created_at, is_demo from identity.people where is_demo order by id limit 2)
union
(select id, number, name, created_at, is_demo from identity.people where is_demo order by id desc limit %(most)s - 2)
order by id;

-- name: lock_people
-- Always in one order, so that two can never wait for each other.
select from identity.people where id = any(%(ids)s::uuid[]) order by id for no key update;

-- name: rename_person
update identity.people set name = %(name)s where id = %(id)s;
