-- name: create_person
insert into identity.people (id, name, created_at, is_demo)
values (%(id)s, %(name)s, %(created_at)s, %(is_demo)s);

-- name: list_people
select id, name, created_at, is_demo from identity.people where id = any(%(ids)s::uuid[]) order by id;

-- name: find_people_by_name
select id, name, created_at, is_demo from identity.people where name = %(name)s order by created_at desc, id desc;

-- name: newest_people
select id, name, created_at, is_demo from identity.people order by created_at desc, id desc limit %(most)s;
