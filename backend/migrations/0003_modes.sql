-- Broadcast modes: by which way the news of a message travels is data, read by whoever writes it, in its transaction.
--
-- 1. Where the mode stands, and how it is switched.

create table settings (
    name text primary key,
    value text not null,
    changed_at timestamptz not null default clock_timestamp(),
    check (name <> 'broadcast_mode' or value in ('api', 'outbox', 'cdc', 'api_cdc', 'message', 'wal'))
);
insert into settings (name, value) values ('broadcast_mode', 'outbox');

-- The mode of this transaction. Call it before any room or member is locked.
--
-- The shared lock lasts until the transaction ends, and a switch waits for all of them: when a switch has committed, no
-- transaction that read the old mode is still to commit. So in every room the lines of the old mode come before those of
-- the new. (Two statements, as the second must see what was committed while the first waited. A lock of the settings' row
-- would say the same, but each message would write to that one row.) First of all locks, because whoever held a room and
-- waited here behind a switch, which waits for a post, which waits for that room, would wait for ever.
--
-- Not promised: that old lines *arrive* before new ones where they travel by other ways (within a room the hub puts them
-- in order), nor anything about messages whose request names a mode: they have that mode, whenever they commit.
create function broadcast_mode() returns text language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(7200417, 0);
    return (select value from settings where name = 'broadcast_mode');
end $$;

-- Switches, and tells everybody. Returns when it was changed; null: it was this mode already.
--
-- The news of a switch is a row of chat_outbox whatever the modes: a carrier that does not run shall not keep it quiet.
-- It waits for three seconds at most, as every writer waits behind it.
create function set_broadcast_mode(p_mode text) returns timestamptz language plpgsql set lock_timeout = '3s' as $$
declare
    changed timestamptz;
begin
    perform pg_advisory_xact_lock(7200417, 0); -- waits for every transaction that read the old mode
    update settings set value = p_mode, changed_at = clock_timestamp()
     where name = 'broadcast_mode' and value <> p_mode
    returning changed_at into changed;
    if found then
        insert into chat_outbox (method, partition, payload)
        values ('publish', 0, jsonb_build_object(
            'channel', 'system:all',
            'idempotency_key', 'mode@' || extract(epoch from changed),
            'data', jsonb_build_object('type', 'mode', 'mode', p_mode, 'changed_at', changed)));
    end if;
    return changed;
end $$;

-- Who carries rows at present: each source of a relay says so every few seconds. A mode is offered while the source that
-- it needs (outbox; cdc for cdc and api_cdc; message; wal) was seen lately by at least one relay.
create table carriers (
    source text not null check (source in ('outbox', 'cdc', 'message', 'wal')),
    instance text not null, -- which relay: any text that no other relay has
    seen_at timestamptz not null default clock_timestamp(),
    primary key (source, instance)
);

-- 2. What a transaction leaves for the readers of the log. Rows are never updated, nor deleted by who carries them: a
-- cleaner prunes them by age, along the primary key, which is the order of time to within a transaction's length (so no
-- index over created_at, which each message would pay for).

create table chat_cdc (
    id bigint generated always as identity primary key,
    -- as in chat_outbox
    method text not null,
    payload jsonb not null,
    partition smallint not null,
    created_at timestamptz not null default clock_timestamp(),
    -- for Debezium's EventRouter, which routes the same rows to the topic room.events
    aggregate_type text not null default 'room',
    aggregate_id text not null,
    event_type text not null,
    event_id uuid not null default gen_random_uuid(),
    -- who carries it to the hub: wal by the relay from the log, cdc and api_cdc by Kafka
    mode text not null
) with (
    -- Insert-only between two cleanings: what counts is how many came or went, not which share that is.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 50000
);

create function refuse_update() returns trigger language plpgsql as $$
begin
    raise exception 'rows of % are events: they are written once', tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger chat_cdc_is_written_once before update on chat_cdc for each statement execute function refuse_update();

-- For the relay's own reading of the log. A row that the cleaner deletes is no event.
create publication roomcast_wal for table chat_cdc with (publish = 'insert');

-- 3. The timeline keeps by which way each line went, and what its room was called then.

alter table messages
    add column mode text not null default 'outbox'
        check (mode in ('api', 'outbox', 'cdc', 'api_cdc', 'message', 'wal')),
    add column room_name text not null default '';
update messages m set room_name = r.name from rooms r where r.id = m.room_id;

-- 4. The write path of 0002, with the mode: the same locks, statements and answers, for the same reasons.
--
-- p_modes has the mode of each message; null, or no array at all, means the mode of the database. A message has its name
-- of the room and of the author from here on: what is renamed later does not change what was said.
--
-- With what the answer has in addition (epoch, name of the room, mode) a publisher has all that it needs.
drop function post_messages(bigint, bigint[], text[], uuid[]);

create function post_messages(
    p_room bigint, p_authors bigint[], p_texts text[], p_clients uuid[], p_modes text[] default null)
returns table (
    status text, o_version bigint, o_author_name text, o_text text, o_members integer, o_texts bigint,
    o_created_at timestamptz, o_epoch text, o_room_name text, o_mode text
) language plpgsql as $$
declare
    room rooms;
    author record;
    current_mode text;
    this_mode text;
    announcement jsonb;
begin
    if p_modes is null or array_position(p_modes, null) is not null then
        current_mode := broadcast_mode(); -- before the room is locked
    end if;
    select * into room from rooms where id = p_room for no key update;
    if not found then
        return query select 'unknown', 0::bigint, '', '', 0, 0::bigint, now(), '', '', 'outbox' from unnest(p_authors);
        return;
    end if;

    for i in 1 .. cardinality(p_authors) loop
        select u.name, m.read_texts into author from members m join users u on u.id = m.user_id
         where m.room_id = p_room and m.user_id = p_authors[i];
        if not found then
            return query select 'denied', 0::bigint, '', '', 0, 0::bigint, now(), '', '', 'outbox';
            continue;
        end if;

        return query
            select 'repeat', m.version, m.author_name, m.text, m.members, m.texts, m.created_at, room.epoch, m.room_name,
                   m.mode
              from messages m where m.room_id = p_room and m.author_id = p_authors[i] and m.client_id = p_clients[i];
        if found then continue; end if;

        this_mode := coalesce(p_modes[i], current_mode);
        room.version := room.version + 1;
        room.texts := room.texts + 1;
        room.bumped_at := clock_timestamp();
        insert into messages (room_id, version, kind, author_id, author_name, text, client_id, members, texts, created_at,
                              mode, room_name)
        values (p_room, room.version, 0, p_authors[i], author.name, p_texts[i], p_clients[i], room.member_count,
                room.texts, room.bumped_at, this_mode, room.name);

        if this_mode <> 'api' then -- api: no row. The backend publishes after the commit; what a crash cuts off is lost.
            -- protocol::Publish; data is protocol::ChatEvent::Message
            announcement := jsonb_build_object(
                'channel', 'room:' || p_room,
                'version', room.version,
                'version_epoch', room.epoch,
                'data', jsonb_build_object(
                    'type', 'message', 'schema', 1,
                    'room', p_room, 'room_name', room.name, 'version', room.version, 'kind', 'text',
                    'author', jsonb_build_object('id', p_authors[i], 'name', author.name),
                    'text', p_texts[i], 'client_id', p_clients[i], 'members', room.member_count, 'texts', room.texts,
                    'mode', this_mode, 'created_at', room.bumped_at));
        end if;
        if this_mode = 'outbox' then
            insert into chat_outbox (method, payload, partition) values ('publish', announcement, partition_of(p_room));
        elsif this_mode in ('cdc', 'api_cdc', 'wal') then
            if this_mode = 'api_cdc' then -- published twice: the second is recognised by its version, and by this
                announcement := announcement || jsonb_build_object('idempotency_key', room.epoch || '@' || room.version);
            end if;
            insert into chat_cdc (method, payload, partition, aggregate_id, event_type, mode)
            values ('publish', announcement, partition_of(p_room), p_room::text, 'message.text', this_mode);
        elsif this_mode = 'message' then
            -- Transactional (true): a rollback takes it back. A prefix for each partition, because the prefix is all that
            -- Debezium makes a record's key of, and records of one key keep their order.
            perform pg_logical_emit_message(true, 'roomcast.' || partition_of(p_room), jsonb_build_object(
                'method', 'publish', 'payload', announcement, 'partition', partition_of(p_room),
                'created_at', clock_timestamp(), 'mode', this_mode)::text);
        end if;

        -- Who had read everything has read what they wrote themselves: one's own words are never unread.
        if author.read_texts = room.texts - 1 then
            update members set read_version = room.version, read_texts = room.texts
             where room_id = p_room and user_id = p_authors[i];
        end if;

        return query select 'new', room.version, author.name, p_texts[i], room.member_count, room.texts, room.bumped_at,
                            room.epoch, room.name, this_mode;
    end loop;

    update rooms r set version = room.version, texts = room.texts, bumped_at = room.bumped_at
     where r.id = p_room and r.version < room.version;
end $$;

-- 5. The same for whatever else is announced about a room: joins, leaves, read positions. (post_messages does it by itself,
-- as a call for each message costs it a tenth of its time.)
create function announce(p_mode text, p_room bigint, p_event_type text, p_method text, p_payload jsonb)
returns void language plpgsql as $$
begin
    case
        -- Who hears which room is no part of the experiment: a subscribe or unsubscribe is never lost, not even by api.
        when p_mode = 'outbox' or p_mode = 'api' and p_method in ('subscribe', 'unsubscribe') then
            insert into chat_outbox (method, payload, partition) values (p_method, p_payload, partition_of(p_room));

        when p_mode = 'api' then
            null; -- the backend publishes after the commit

        when p_mode in ('cdc', 'api_cdc', 'wal') then
            insert into chat_cdc (method, payload, partition, aggregate_id, event_type, mode)
            values (p_method, p_payload, partition_of(p_room), p_room::text, p_event_type, p_mode);

        when p_mode = 'message' then
            perform pg_logical_emit_message(true, 'roomcast.' || partition_of(p_room), jsonb_build_object(
                'method', p_method, 'payload', p_payload, 'partition', partition_of(p_room),
                'created_at', clock_timestamp(), 'mode', p_mode)::text);
    end case; -- any other mode is an error
end $$;
