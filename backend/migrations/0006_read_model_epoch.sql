-- A topic can outlive its database: after a database that was made anew, room 1 is another room, and its versions begin
-- again. So the read model keeps what a version counts in. Within an epoch the version decides which line is newer, between
-- two epochs the time.
alter table room_view add column epoch text not null default '';
