//! Says in the table `carriers` what is carried here, so that only modes are offered that somebody carries.

use protocol::Mode;
use sqlx::PgConnection;

use crate::{RelayConfig, RelayError, RelayStatus, source::session::within};

/// What this relay carries at present: the names that the table has for it.
pub(crate) fn carried(config: &RelayConfig, status: &RelayStatus) -> Vec<String> {
    let ready = |name| status.source(name).is_some_and(|source| source.ready);
    let messages = config.wal.as_ref().is_some_and(|wal| wal.messages);
    let consumes =
        |end| config.kafka.as_ref().is_some_and(|kafka| kafka.topics.iter().any(|topic| topic.ends_with(end)));
    let carried = [
        (Mode::Outbox, ready("outbox")),
        (Mode::Wal, ready("wal")),
        (Mode::Cdc, ready("kafka") && consumes(".chat_cdc")),
        (Mode::Message, ready("kafka") && consumes(".message") || ready("wal") && messages),
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

/// Takes back what was said, and what relays said that are long gone.
pub(crate) async fn take_back(connection: &mut PgConnection, instance: &str) -> Result<(), RelayError> {
    let taken = sqlx::query!(
        "delete from carriers where instance = $1 or seen_at < clock_timestamp() - interval '1 hour'",
        instance,
    );
    within(taken.execute(connection)).await?;
    Ok(())
}
