-- name: create_top_up
insert into pay.top_ups (person_id, id, minor, currency, occurred_at)
values (%(person_id)s, %(id)s, %(minor)s, %(currency)s, %(occurred_at)s);
