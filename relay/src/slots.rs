//! The replication slots of our making: how much log the server keeps for each, whether somebody reads it, and whether it
//! is still there.
//!
//! A slot that is lost, or gone, is told loudly with what to do next: what it would have brought never comes by itself.
//! The slots of Debezium have the names of the connectors' files; that of the event router is only missed once it was
//! seen, as a deployment may do without the read model.
//!
//! Watched is each that is there, whatever sources run here: one that nobody reads any more keeps log for ever. It is a
//! notice, with the command that removes it.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use sqlx::PgConnection;
use tokio::time::Instant;
use tracing::{error, info};

use crate::{
    Notice, RelayConfig, RelayError, Way, metrics,
    probe::{Probes, ends},
    source::session::within,
};

/// A slot as the server has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SlotStatus {
    /// Its name.
    pub name: String,
    /// Somebody reads from it.
    pub active: bool,
    /// For how long nobody has, as far as that is known: the server says so from PostgreSQL 17 on.
    pub idle_seconds: Option<f64>,
    /// `reserved`, `extended`, `unreserved` or `lost`; none where there is no such slot.
    pub wal_status: Option<String>,
    /// Write-ahead log that the server keeps for it.
    pub retained_bytes: i64,
    /// Write-ahead log that its reader has not confirmed yet.
    pub unconfirmed_bytes: i64,
    /// What is wrong with it, and what to do.
    pub trouble: Option<String>,
    /// A source of this relay does not work without it.
    pub needed: bool,
}

/// The slots of our making.
pub(crate) struct Slots {
    wanted: Vec<Wanted>,
    /// A slot may be without a reader for so long.
    patience: Duration,
    troubles: BTreeMap<String, String>,
    /// Since when we know that nobody reads.
    idle: BTreeMap<String, Instant>,
    /// Measured at the last look, so that what is removed does not keep its last figures.
    measured: Vec<String>,
}

struct Wanted {
    name: String,
    way: Way,
    /// It was there once.
    seen: bool,
}

/// What a look has found.
pub(crate) struct Look {
    pub slots: Vec<SlotStatus>,
    pub notices: Vec<Notice>,
}

impl Slots {
    pub(crate) fn new(config: &RelayConfig) -> Self {
        let wal = config.wal.iter().map(|wal| (wal.slot.as_str(), Way::Wal));
        let ways: Vec<Way> = ends(config).filter(|(source, _)| *source == "kafka").map(|(_, way)| way).collect();
        let debezium = [
            ("roomcast_rows", Way::Cdc, Way::Cdc),
            ("roomcast_events", Way::Events, Way::Cdc),
            ("roomcast_messages", Way::Message, Way::Message),
        ];
        let debezium =
            debezium.into_iter().filter(|(_, _, with)| ways.contains(with)).map(|(name, way, _)| (name, way));
        let wanted = wal.chain(debezium).map(|(name, way)| Wanted { name: name.to_owned(), way, seen: false });
        Self {
            wanted: wanted.collect(),
            patience: config.unread_after,
            troubles: BTreeMap::new(),
            idle: BTreeMap::new(),
            measured: Vec::new(),
        }
    }

    /// Looks at them, and says what has changed.
    pub(crate) async fn look(&mut self, connection: &mut PgConnection, probes: &Probes) -> Result<Look, RelayError> {
        let names: Vec<_> = self.wanted.iter().map(|wanted| wanted.name.clone()).collect();
        let mut found = look(connection, &names).await?;
        let mut slots = Vec::new();
        for wanted in &mut self.wanted {
            let slot = found.remove(&wanted.name);
            wanted.seen |= slot.is_some();
            let Some(slot) = wanted.judge(slot, probes) else { continue };
            tell(&mut self.troubles, &slot, wanted.seen);
            slots.push(slot);
        }
        slots.extend(found.into_values());
        self.count_idle(&mut slots);
        self.measure(&slots);
        let notices = slots.iter().filter_map(|slot| slot.unread(self.patience)).collect();
        Ok(Look { slots, notices })
    }

    /// Where the server does not say for how long nobody has read, it is so since we know.
    fn count_idle(&mut self, slots: &mut [SlotStatus]) {
        let now = Instant::now();
        let is_idle = |slot: &&mut SlotStatus| !slot.active && slot.wal_status.is_some();
        let mut idle = BTreeMap::new();
        for slot in slots.iter_mut().filter(is_idle) {
            let since = self.idle.get(&slot.name).copied().unwrap_or(now);
            slot.idle_seconds.get_or_insert((now - since).as_secs_f64());
            idle.insert(slot.name.clone(), since);
        }
        self.idle = idle;
    }

    fn measure(&mut self, slots: &[SlotStatus]) {
        let gone = std::mem::take(&mut self.measured).into_iter();
        for name in gone.filter(|name| !slots.iter().any(|slot| slot.name == *name)) {
            measure(&SlotStatus { name, ..SlotStatus::default() });
        }
        for slot in slots {
            measure(slot);
            self.measured.push(slot.name.clone());
        }
    }
}

impl SlotStatus {
    /// What to say of one that nobody reads; nothing if somebody does, or did until a moment ago.
    fn unread(&self, patience: Duration) -> Option<Notice> {
        let idle = Duration::try_from_secs_f64(self.idle_seconds?).ok().filter(|idle| *idle >= patience)?;
        let (name, idle) = (&self.name, Duration::from_secs(idle.as_secs()));
        let notice = if self.wal_status.as_deref() == Some("lost") {
            format!("the server gave up the replication slot {name}, which nobody has read for {idle:?}")
        } else {
            let megabytes = self.retained_bytes / 1_000_000;
            format!(
                "nobody has read the replication slot {name} for {idle:?}, and {megabytes} MB of log are kept for it"
            )
        };
        let remedy = match name.strip_prefix("roomcast_") {
            Some(kind @ ("rows" | "events" | "messages")) => format!(
                "start Kafka Connect with the connector roomcast-{kind}, or remove both with `roomcast connectors remove \
                 {kind}`; where there is no Kafka Connect any more, `roomcast slots remove {name}`"
            ),
            _ => format!("start the relay that reads it, or remove it with `roomcast slots remove {name}`"),
        };
        Some(Notice { about: format!("slot {name}"), notice, remedy })
    }
}

impl Wanted {
    /// Nothing where there may be none.
    fn judge(&self, slot: Option<SlotStatus>, probes: &Probes) -> Option<SlotStatus> {
        let there = slot.is_some();
        let mut slot = slot.unwrap_or_else(|| SlotStatus { name: self.name.clone(), ..SlotStatus::default() });
        slot.needed = self.way != Way::Events;
        let wrong = match (there, slot.wal_status.as_deref()) {
            (true, Some("lost")) => "was given up by the server (see max_slot_wal_keep_size)",
            (true, _) => return Some(slot),
            (false, _) if self.seen => "was there and is gone",
            // Its source makes it; there may be no read model; connectors of other names may do the same work.
            (false, _) if matches!(self.way, Way::Wal | Way::Events) || probes.works(self.way) => return None,
            (false, _) => "is not there",
        };
        slot.trouble = Some(format!("the replication slot {} {wrong}: {}", self.name, self.remedy()));
        Some(slot)
    }

    fn remedy(&self) -> &'static str {
        match self.way {
            Way::Wal => {
                "the relay that reads it makes it anew and carries what chat_cdc still holds; what had been pruned reaches \
                 people from the hub's backlog"
            }
            _ if self.seen => {
                "run `roomcast connectors remove` and then `apply`, which starts from now on; what was missed reaches people \
                 from the hub's backlog"
            }
            _ => "run `roomcast connectors apply`",
        }
    }
}

/// Those of these names, and whatever else in this database is called as we call them.
async fn look(connection: &mut PgConnection, names: &[String]) -> Result<BTreeMap<String, SlotStatus>, RelayError> {
    // As JSON, since a server before 17 has no such column.
    let found = sqlx::query!(
        r#"select slot_name::text as "name!", active as "active!", wal_status,
                  coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint as "retained!",
                  coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint as "unconfirmed!",
                  extract(epoch from clock_timestamp() - (to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8 as idle
             from pg_replication_slots s
            where (slot_name::text = any($1) or slot_name ^@ 'roomcast_') and slot_type = 'logical' and not temporary
              and database = current_database()"#,
        names,
    );
    let found = within(found.fetch_all(connection)).await?.into_iter().map(|row| {
        let slot = SlotStatus {
            name: row.name.clone(),
            active: row.active,
            idle_seconds: row.idle,
            wal_status: row.wal_status,
            retained_bytes: row.retained,
            unconfirmed_bytes: row.unconfirmed,
            ..SlotStatus::default()
        };
        (row.name, slot)
    });
    Ok(found.collect())
}

fn measure(slot: &SlotStatus) {
    let gauge = |metric: &'static str| ::metrics::gauge!(metric, "slot" => slot.name.clone());
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; bytes of log stay below 2^52")]
    {
        gauge(metrics::WAL_RETAINED_BYTES).set(slot.retained_bytes as f64);
        gauge(metrics::WAL_LAG_BYTES).set(slot.unconfirmed_bytes as f64);
    }
    gauge(metrics::SLOT_ACTIVE).set(f64::from(u8::from(slot.active)));
    gauge(metrics::SLOT_IDLE).set(slot.idle_seconds.unwrap_or(0.0));
    gauge(metrics::SLOT_USABLE).set(f64::from(u8::from(slot.trouble.is_none())));
}

/// Once when it begins, once when it is over. One that was never there may be about to come.
fn tell(troubles: &mut BTreeMap<String, String>, slot: &SlotStatus, seen: bool) {
    match &slot.trouble {
        Some(trouble) if troubles.get(&slot.name) == Some(trouble) => {}
        Some(trouble) => {
            if seen {
                error!(slot = slot.name, "{trouble}");
            } else {
                info!(slot = slot.name, "{trouble}");
            }
            troubles.insert(slot.name.clone(), trouble.clone());
        }
        None => {
            if troubles.remove(&slot.name).is_some() {
                info!(slot = slot.name, "the replication slot {} is there", slot.name);
            }
        }
    }
}
