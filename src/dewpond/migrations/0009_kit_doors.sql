-- A world has three doors: what merchants' software calls, what people open, what staff open.

alter table kit.worlds
  add column wire_url   text not null default '',
  add column staff_url  text not null default '';
comment on column kit.worlds.public_url is 'what people open: the origin of code links and their relying party';

-- Until now all of it was one.
update kit.worlds set wire_url = public_url;
