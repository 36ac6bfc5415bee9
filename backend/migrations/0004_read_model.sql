-- The room list as a read model: what a consumer of the topic room.events makes of the events, and of nothing else.
--
-- No foreign keys: it can be thrown away and made again from the topic alone, whatever the truth has become meanwhile.

create table room_view (
    room_id bigint primary key,
    name text not null,
    -- The newest line that was applied: only a higher version replaces it. Its counters are absolute, so that a line that
    -- is missing or repeated spoils nothing.
    version bigint not null,
    texts bigint not null,
    member_count integer not null,
    last_message jsonb not null, -- protocol::TimelineEvent
    bumped_at timestamptz not null
) with (fillfactor = 70);

-- Which events were applied: an event that comes again is recognised by its id, before it is looked at.
create table inbox_events (
    event_id uuid primary key,
    applied_at timestamptz not null default now()
);
create index inbox_events_applied_at on inbox_events using brin (applied_at);
