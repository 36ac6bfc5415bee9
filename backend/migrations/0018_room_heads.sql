-- The head of a room is its newest line, and a post changes no row any more.
--
-- Until here each post moved rooms.version, rooms.texts and rooms.bumped_at. While anybody holds a snapshot (a dump, a
-- forgotten psql) no vacuum may remove the old versions of such a row, and whoever looks at the room walks over all of
-- them: slower with each message. The lines themselves say the same. They are only ever added, so nothing dies, and the
-- newest one is a step backwards along the primary key.
--
-- What a row of rooms still is: the lock of its timeline, the name, and the number of members, which only joins move.

alter table rooms drop column version, drop column texts, drop column bumped_at;

-- A room with its head. Who holds the room's lock and wants to write asks lock_room instead.
create view room_heads as
select r.id, r.name, r.epoch, coalesce(l.version, 0) as version, coalesce(l.texts, 0) as texts, r.member_count,
       coalesce(l.created_at, r.created_at) as bumped_at, r.created_at
  from rooms r
  left join lateral (select m.version, m.texts, m.created_at from messages m
                      where m.room_id = r.id order by m.version desc limit 1) l on true;

-- Locks a room until the end of the transaction and gives its head; nothing if there is no such room.
--
-- Two statements: only one that begins after the lock was given sees what its last holder committed.
create function lock_room(p_room bigint)
returns table (id bigint, epoch text, version bigint, texts bigint, member_count integer) language plpgsql as $$
#variable_conflict use_column
begin
    perform from rooms r where r.id = p_room for no key update;
    return query select h.id, h.epoch, h.version, h.texts, h.member_count from room_heads h where h.id = p_room;
end $$;

-- The write path of 0003 with two differences: versions follow from the newest line, and a call may have messages for
-- several rooms, so that they share a transaction. Messages of a room stand together, in the order of their writing.
--
-- p_wait: whether to wait for rooms that somebody else has locked. Without, their messages are answered 'locked', and
-- nobody else's message waits for them. Who has several rooms must say false: a call that holds a room then waits for
-- no other, so no two calls can wait for each other, in whatever order they lock.
--
-- One row a message, in the order of the arguments. Status: new, repeat, denied (not a member), unknown (no such room),
-- locked.
create function post_to_rooms(
    p_rooms bigint[], p_authors bigint[], p_texts text[], p_clients uuid[], p_modes text[], p_wait boolean)
returns table (
    status text, o_version bigint, o_author_name text, o_text text, o_members integer, o_texts bigint,
    o_created_at timestamptz, o_epoch text, o_room_name text, o_mode text
) language plpgsql as $$
declare
    room record;
    newest bigint; -- version of the newest line
    counted bigint; -- lines that are texts
    author record;
    absent text; -- why the room cannot be written to
    current_mode text;
    announcement jsonb;
begin
    if p_modes is null or array_position(p_modes, null) is not null then
        current_mode := broadcast_mode(); -- before any room is locked
    end if;

    for i in 1 .. cardinality(p_authors) loop
        if i = 1 or p_rooms[i] <> p_rooms[i - 1] then
            if p_wait then
                select r.name, r.epoch, r.member_count into room from rooms r where r.id = p_rooms[i] for no key update;
            else
                select r.name, r.epoch, r.member_count into room from rooms r where r.id = p_rooms[i]
                   for no key update skip locked;
            end if;
            absent := null;
            if not found then
                absent := case when exists (select from rooms r where r.id = p_rooms[i]) then 'locked' else 'unknown' end;
            end if;
            -- After the lock: this sees what its last holder committed.
            select m.version, m.texts into newest, counted from messages m
             where m.room_id = p_rooms[i] order by m.version desc limit 1;
            if not found then
                newest := 0; counted := 0;
            end if;
        end if;

        -- Who writes, and what they wrote before by this client_id.
        select u.name, m.read_texts, said.version, said.author_name, said.text, said.members, said.texts,
               said.created_at, said.room_name, said.mode
          into author
          from members m
          join users u on u.id = m.user_id
          left join messages said
            on said.room_id = m.room_id and said.author_id = m.user_id and said.client_id = p_clients[i]
         where m.room_id = p_rooms[i] and m.user_id = p_authors[i];
        status := case when absent is not null then absent when not found then 'denied' end;
        if status is not null then
            o_version := 0; o_author_name := ''; o_text := ''; o_members := 0; o_texts := 0; o_created_at := now();
            o_epoch := ''; o_room_name := ''; o_mode := 'outbox';
            return next;
            continue;
        end if;

        o_epoch := room.epoch;
        if author.version is not null then
            status := 'repeat'; o_version := author.version; o_author_name := author.author_name; o_text := author.text;
            o_members := author.members; o_texts := author.texts; o_created_at := author.created_at;
            o_room_name := author.room_name; o_mode := author.mode;
            return next;
            continue;
        end if;

        newest := newest + 1;
        counted := counted + 1;
        status := 'new'; o_version := newest; o_author_name := author.name; o_text := p_texts[i];
        o_members := room.member_count; o_texts := counted; o_created_at := clock_timestamp();
        o_room_name := room.name; o_mode := coalesce(p_modes[i], current_mode);
        insert into messages (room_id, version, kind, author_id, author_name, text, client_id, members, texts, created_at,
                              mode, room_name)
        values (p_rooms[i], o_version, 0, p_authors[i], o_author_name, o_text, p_clients[i], o_members, o_texts,
                o_created_at, o_mode, o_room_name);

        if o_mode <> 'api' then -- api: no row. The backend publishes after the commit; what a crash cuts off is lost.
            -- protocol::Publish; data is protocol::ChatEvent::Message
            announcement := jsonb_build_object(
                'channel', 'room:' || p_rooms[i],
                'version', o_version,
                'version_epoch', o_epoch,
                'data', jsonb_build_object(
                    'type', 'message', 'schema', 1,
                    'room', p_rooms[i], 'room_name', o_room_name, 'version', o_version, 'kind', 'text',
                    'author', jsonb_build_object('id', p_authors[i], 'name', o_author_name),
                    'text', o_text, 'client_id', p_clients[i], 'members', o_members, 'texts', o_texts,
                    'mode', o_mode, 'created_at', o_created_at));
        end if;
        if o_mode = 'outbox' then
            insert into chat_outbox (method, payload, partition)
            values ('publish', announcement, partition_of(p_rooms[i]));
        elsif o_mode in ('cdc', 'api_cdc', 'wal') then
            if o_mode = 'api_cdc' then -- published twice: the second is recognised by its version, and by this
                announcement := announcement || jsonb_build_object('idempotency_key', o_epoch || '@' || o_version);
            end if;
            insert into chat_cdc (method, payload, partition, aggregate_id, event_type, mode)
            values ('publish', announcement, partition_of(p_rooms[i]), p_rooms[i]::text, 'message.text', o_mode);
        elsif o_mode = 'message' then
            -- Transactional (true): a rollback takes it back. A prefix for each partition, because the prefix is all that
            -- Debezium makes a record's key of, and records of one key keep their order.
            perform pg_logical_emit_message(true, 'roomcast.' || partition_of(p_rooms[i]), jsonb_build_object(
                'method', 'publish', 'payload', announcement, 'partition', partition_of(p_rooms[i]),
                'created_at', clock_timestamp(), 'mode', o_mode)::text);
        end if;

        -- Who had read everything has read what they wrote themselves: one's own words are never unread.
        if author.read_texts = o_texts - 1 then
            update members set read_version = o_version, read_texts = o_texts
             where room_id = p_rooms[i] and user_id = p_authors[i];
        end if;
        return next;
    end loop;
end $$;

-- The same for one room, waiting for it: for whoever posts by SQL.
create or replace function post_messages(
    p_room bigint, p_authors bigint[], p_texts text[], p_clients uuid[], p_modes text[] default null)
returns table (
    status text, o_version bigint, o_author_name text, o_text text, o_members integer, o_texts bigint,
    o_created_at timestamptz, o_epoch text, o_room_name text, o_mode text
) language plpgsql as $$
begin
    return query select * from post_to_rooms(
        array_fill(p_room, array[cardinality(p_authors)]), p_authors, p_texts, p_clients, p_modes, true);
end $$;
