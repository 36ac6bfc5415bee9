-- Where claims of chat_outbox begin.
--
-- A row that was carried is deleted, but while anybody holds a snapshot (a dump, a forgotten psql) no vacuum may remove what
-- is left of it. A claim that began at the lowest id would walk over all of that, each time longer. So a relay remembers,
-- for each partition, an id up to which nothing waits and nothing can appear any more, and begins behind it. It stands here
-- now and then, so that who takes a partition over need not walk either. A floor that is too low only costs time; a
-- partition without a row begins at the lowest id.
create table outbox_floors (
    partition smallint primary key,
    floor bigint not null check (floor >= 0)
);
