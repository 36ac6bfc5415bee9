//! Says in the table `carriers` what is carried here, so that only modes are offered that somebody carries: a probe came
//! through lately, and we are connected.

use protocol::Mode;
use sqlx::PgConnection;

use crate::{Phase, RelayConfig, RelayError, RelayStatus, Way, source::session::within};

/// What this relay carries at present: the names that the table has for it.
pub(crate) fn carried(config: &RelayConfig, status: &RelayStatus) -> Vec<String> {
    let ready = |name| status.source(name).is_some_and(|source| source.ready);
    let connected = |name| status.source(name).is_some_and(|source| source.phase != Phase::Connecting);
    let works = |way| status.probes.iter().any(|probe| probe.source == way && probe.works);
    let messages = config.wal.as_ref().is_some_and(|wal| wal.messages);
    let carried = [
        (Mode::Outbox, ready("outbox")),
        (Mode::Wal, connected("wal") && works(Way::Wal)),
        (Mode::Cdc, connected("kafka") && works(Way::Cdc)),
        (Mode::Message, (connected("kafka") || connected("wal") && messages) && works(Way::Message)),
    ];
    carried.into_iter().filter(|(_, carried)| *carried).map(|(mode, _)| mode.to_string()).collect()
}

/// Says it again. Who has said nothing for a while carries nothing.
pub(crate) async fn tell(connection: &mut PgConnection, instance: &str, carried: &[String]) -> Result<(), RelayError> {
    let told = sqlx::query!(
        "insert into carriers (source, instance) select source, $2 from unnest($1::text[]) as c(source)
         on conflict (source, instance) do update set seen_at = clock_timestamp()",
        carried,
        instance,
    );
    within(told.execute(connection)).await?;
    Ok(())
}

/// Takes back what was said.
pub(crate) async fn take_back(connection: &mut PgConnection, instance: &str) -> Result<(), RelayError> {
    let taken = sqlx::query!("delete from carriers where instance = $1", instance);
    within(taken.execute(connection)).await?;
    Ok(())
}

/// Forgets relays that died without a word: nobody has believed them for long.
pub(crate) async fn forget(connection: &mut PgConnection) -> Result<(), RelayError> {
    let forgotten = sqlx::query!("delete from carriers where seen_at < clock_timestamp() - interval '1 hour'");
    within(forgotten.execute(connection)).await?;
    Ok(())
}
