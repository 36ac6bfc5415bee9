-- A probe is a command that every consumer of the table or of the topics understands, and that changes nothing for any.
--
-- Until here its method was 'probe', of which Centrifugo's consumers say in the log that they do not support it, every few
-- seconds. Now it is a refresh of one connection that nobody has: names of connections are made by hubs, never so. Relays
-- know it by the rest of its payload, and the old ones too, which may still stand in the table, the log and the topics.
create or replace function send_probes(p_sources text[], p_every double precision) returns void language plpgsql as $$
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
        returning source, sent_at, jsonb_build_object('user', 'roomcast.probe', 'client', 'roomcast.probe',
                                                      'probe', source, 'sent_at', sent_at) as payload
    loop
        -- What is only in the server's memory is read by nobody: a relay's session does not wait for the disk by itself.
        perform set_config('synchronous_commit', 'on', true);
        if probe.source = 'message' then
            perform pg_logical_emit_message(true, 'roomcast.0', jsonb_build_object(
                'method', 'refresh', 'payload', probe.payload, 'partition', 0, 'created_at', probe.sent_at,
                'mode', 'message')::text);
        else
            insert into chat_cdc (method, payload, partition, aggregate_type, aggregate_id, event_type, mode)
            values ('refresh', probe.payload, 0, 'probe', '0', 'probe', probe.source);
        end if;
        if probe.source = 'cdc' then -- the same row travels to the read model
            update probes set sent_at = probe.sent_at where source = 'events';
        end if;
    end loop;
end $$;
