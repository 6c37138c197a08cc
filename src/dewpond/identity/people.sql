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
select id, number, name, created_at, is_demo from identity.people order by created_at desc, id desc limit %(most)s;

-- name: count_people
select count(*) from identity.people;

-- name: newest_demo_people
select id, number, name, created_at, is_demo from identity.people where is_demo order by created_at desc, id desc limit %(most)s;

-- name: rename_person
update identity.people set name = %(name)s where id = %(id)s;
