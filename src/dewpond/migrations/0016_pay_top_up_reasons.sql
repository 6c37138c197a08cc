-- What money was put in for, in the words of who put it in; and the list of what the desk has put in.

alter table pay.top_ups add column reason text not null default '' check (length(reason) <= 200);
alter table pay.top_up_proposals add column reason text not null default '' check (length(reason) <= 200);

create index top_ups_by_desk on pay.top_ups (occurred_at, id) where by_staff_id is not null;
