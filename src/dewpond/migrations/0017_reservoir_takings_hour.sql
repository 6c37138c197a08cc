-- The day of all merchants together. A row's hour never changes, so this costs one entry per merchant and hour.
create index takings_hour on reservoir.takings (hour);
