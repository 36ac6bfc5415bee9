-- The write path: a message and the row that announces it, in one transaction and one round trip.
--
-- Each statement of a volatile function sees what was committed before it began (READ COMMITTED; not for use at
-- REPEATABLE READ). So everything after the room's lock is exact: a member who was removed while the post waited is
-- refused, and a repeat of a client_id is recognised. Strangers and repeats write nothing, so versions stay gapless.
--
-- FOR NO KEY UPDATE, not FOR UPDATE: foreign-key checks of concurrent joins must not wait for it, nor deadlock with it.
-- clock_timestamp(), not now(): now() is from before the wait for the lock, and times would not follow versions.
create function post_message(
    p_room bigint, p_author bigint, p_text text, p_client uuid,
    out status text, -- new | repeat | denied
    out o_version bigint, out o_author_name text, out o_text text, out o_members integer, out o_texts bigint,
    out o_created_at timestamptz
) language plpgsql as $$
declare
    room rooms;
    author text;
begin
    select * into room from rooms where id = p_room for no key update;
    if not found then status := 'denied'; return; end if;

    select u.name into author from members m join users u on u.id = m.user_id
     where m.room_id = p_room and m.user_id = p_author;
    if not found then status := 'denied'; return; end if;

    select 'repeat', m.version, m.author_name, m.text, m.members, m.texts, m.created_at
      into status, o_version, o_author_name, o_text, o_members, o_texts, o_created_at
      from messages m where m.room_id = p_room and m.author_id = p_author and m.client_id = p_client;
    if found then return; end if;

    update rooms set version = version + 1, texts = texts + 1, bumped_at = clock_timestamp()
     where id = p_room returning version, texts into o_version, o_texts;

    o_author_name := author;
    o_text := p_text;
    o_members := room.member_count;
    insert into messages (room_id, version, kind, author_id, author_name, text, client_id, members, texts)
    values (p_room, o_version, 0, p_author, o_author_name, o_text, p_client, o_members, o_texts)
    returning created_at into o_created_at;

    -- protocol::Publish; data is protocol::ChatEvent::Message
    insert into chat_outbox (method, partition, payload)
    values ('publish', partition_of(p_room), jsonb_build_object(
        'channel', 'room:' || p_room,
        'version', o_version,
        'version_epoch', room.epoch,
        'data', jsonb_build_object(
            'type', 'message', 'schema', 1,
            'room', p_room, 'version', o_version, 'kind', 'text',
            'author', jsonb_build_object('id', p_author, 'name', o_author_name),
            'text', o_text, 'client_id', p_client, 'members', o_members, 'texts', o_texts,
            'created_at', o_created_at)));

    status := 'new';
end $$;

-- What arrived for hot rooms while the last transaction was in flight, written by one. Rooms are locked in one order
-- first, so that two backends cannot deadlock. Answers come in the order of the arguments.
create function post_messages(
    p_rooms bigint[], p_authors bigint[], p_texts text[], p_clients uuid[]
) returns table (
    status text, o_version bigint, o_author_name text, o_text text, o_members integer, o_texts bigint,
    o_created_at timestamptz
) language plpgsql as $$
begin
    perform from rooms where id = any(p_rooms) order by id for no key update;
    for i in 1 .. cardinality(p_rooms) loop
        return query select * from post_message(p_rooms[i], p_authors[i], p_texts[i], p_clients[i]);
    end loop;
end $$;
