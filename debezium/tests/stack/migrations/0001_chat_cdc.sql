-- The table that the connectors read, with the columns that they name.
create table chat_cdc (
    id bigint generated always as identity primary key,
    method text not null,
    payload jsonb not null,
    partition smallint not null,
    created_at timestamptz not null default clock_timestamp(),
    aggregate_type text not null default 'room',
    aggregate_id text not null,
    event_type text not null default 'message.text',
    event_id uuid not null default gen_random_uuid(),
    mode text not null default 'cdc'
);

-- What else happens in a database.
create table elsewhere (text text not null);
