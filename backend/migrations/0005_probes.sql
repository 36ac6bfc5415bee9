-- Probes: a way counts as working only while something that was sent comes through. A connector that calls itself RUNNING
-- may carry nothing.
--
-- Every few seconds one relay sends a row of chat_cdc and a logical message that ask for nothing. Who reads one at the end
-- of its way notes it here; nobody delivers it. All times are the database's, so that no two clocks are compared.
create table probes (
    -- cdc and message end at the relay's consumers, events at that of the read model, wal at the relay's own reader
    source text primary key check (source in ('cdc', 'message', 'events', 'wal')),
    sent_at timestamptz,
    seen_at timestamptz,
    seen_sent_at timestamptz -- when that which was seen last had been sent
) with (fillfactor = 50);
insert into probes (source) values ('cdc'), ('message'), ('events'), ('wal');

-- Sends what is due of these, if nobody else just did: every p_every seconds, and five times as often while none came
-- through lately, so that a way that opens is noticed soon.
create function send_probes(p_sources text[], p_every double precision) returns void language plpgsql as $$
declare
    every constant interval := make_interval(secs => p_every);
    probe record;
begin
    for probe in
        update probes set sent_at = clock_timestamp()
         where source = any(p_sources) and source <> 'events'
           and (sent_at is null
                or sent_at > clock_timestamp()
                or sent_at < clock_timestamp() - case when seen_at > clock_timestamp() - 3 * every then every
                                                      else every / 5 end)
        returning source, sent_at, jsonb_build_object('probe', source, 'sent_at', sent_at) as payload
    loop
        -- What is only in the server's memory is read by nobody: a relay's session does not wait for the disk by itself.
        perform set_config('synchronous_commit', 'on', true);
        if probe.source = 'message' then
            perform pg_logical_emit_message(true, 'roomcast.0', jsonb_build_object(
                'method', 'probe', 'payload', probe.payload, 'partition', 0, 'created_at', probe.sent_at,
                'mode', 'message')::text);
        else
            insert into chat_cdc (method, payload, partition, aggregate_type, aggregate_id, event_type, mode)
            values ('probe', probe.payload, 0, 'probe', '0', 'probe', probe.source);
        end if;
        if probe.source = 'cdc' then -- the same row travels to the read model
            update probes set sent_at = probe.sent_at where source = 'events';
        end if;
    end loop;
end $$;
