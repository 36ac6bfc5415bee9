-- The truth: who exists, who is where, what was said, and the rows that announce it.

-- How many partitions the rows of this database are spread over. The program has the same number
-- (protocol::PARTITIONS) and refuses to start on a database with another. To change it, drain the outbox first.
create function partition_count() returns smallint immutable parallel safe language sql as 'select 16::smallint';

create function partition_of(room bigint) returns smallint immutable parallel safe language sql
    as $$ select (((room % partition_count()) + partition_count()) % partition_count())::smallint $$;

create table users (
    id bigint generated always as identity primary key,
    username text not null unique check (username ~ '^[a-z0-9_]{2,32}$'),
    name text not null check (length(name) between 1 and 64),
    password_hash text not null,
    is_admin boolean not null default false,
    created_at timestamptz not null default now()
);

-- Only a hash of the cookie is kept: who reads this table cannot sign in with it.
create table sessions (
    token_hash bytea primary key check (octet_length(token_hash) = 32),
    user_id bigint not null references users on delete cascade,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index sessions_expires_at on sessions (expires_at);

create table rooms (
    id bigint generated always as identity primary key,
    name text not null check (length(name) between 1 and 80),
    -- Identity of the sequence of versions: a restored or truncated room must get another.
    epoch text not null default substr(md5(gen_random_uuid()::text), 1, 8),
    -- The version of the newest line of the timeline, and how many of its lines are texts.
    version bigint not null default 0 check (version >= 0),
    texts bigint not null default 0 check (texts >= 0),
    member_count integer not null default 0 check (member_count >= 0),
    bumped_at timestamptz not null default clock_timestamp(),
    created_at timestamptz not null default now()
) with (fillfactor = 50);
-- Neither version nor bumped_at is indexed: the bump of a post stays a HOT update, and a unique index on version
-- would make each post wait for the foreign-key checks of joins.
create unique index rooms_name on rooms (lower(name));

create table members (
    room_id bigint not null references rooms on delete cascade,
    user_id bigint not null references users on delete cascade,
    -- Everything up to this version was read; read_texts is messages.texts there, so unread = rooms.texts - read_texts.
    read_version bigint not null default 0,
    read_texts bigint not null default 0,
    joined_at timestamptz not null default now(),
    primary key (room_id, user_id)
) with (fillfactor = 80); -- read positions move often: room for HOT updates
create index members_user on members (user_id, room_id);

-- The timeline. Versions of a room are gapless and commit in order, because whoever writes one has locked the room.
create table messages (
    room_id bigint not null references rooms on delete cascade,
    version bigint not null,
    kind smallint not null check (kind between 0 and 3), -- text, joined, left, created: protocol::Kind
    author_id bigint not null references users,
    author_name text not null, -- as it was when it was said
    text text not null default '' check (length(text) <= 4000),
    client_id uuid,
    members integer not null,
    texts bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (room_id, version),
    constraint messages_once unique (room_id, author_id, client_id)
);

-- Rows for the relay, in the shape of Centrifugo's consumers. They leave by acknowledgement or by dead_letters.
create table chat_outbox (
    id bigint generated always as identity,
    method text not null,
    payload jsonb not null,
    partition smallint not null,
    created_at timestamptz not null default clock_timestamp(),
    primary key (partition, id) -- the only index: it serves select, delete and identity
) with (
    -- Every row is deleted soon, so what matters is how many died, not which share of a nearly empty table. A vacuum of
    -- this table is short; a slow one would leave dead index entries in the way of each claim.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

create table dead_letters (
    id bigint generated always as identity primary key,
    source text not null, -- where the row came from: outbox
    source_id bigint not null, -- its id there
    method text not null,
    payload text not null, -- as it was read, even where that is not JSON
    partition smallint not null,
    reason text not null,
    attempts integer not null,
    created_at timestamptz not null, -- of the row
    failed_at timestamptz not null default now(),
    unique (source, source_id)
);
