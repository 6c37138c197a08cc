-- name: forget_sessions
-- One that was ended by hand stays until it would have run out, for whoever asks later where somebody was signed in.
delete from identity.sessions s using (
  select holder_id, id from identity.sessions where expires_at <= %(wall_now)s
  order by expires_at limit %(most)s for update skip locked
) old
where s.holder_id = old.holder_id and s.id = old.id;

-- name: forget_challenges
delete from identity.challenges where id in (
  select id from identity.challenges where expires_at <= %(wall_now)s
  order by expires_at limit %(most)s for update skip locked
);

-- name: forget_scans
delete from identity.scans where id in (
  select id from identity.scans where expires_at <= %(wall_now)s
  order by expires_at limit %(most)s for update skip locked
);
