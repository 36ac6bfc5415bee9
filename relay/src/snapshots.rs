//! Who holds the oldest snapshot of the server, and since when. While it is held no vacuum removes what died after it was
//! taken, in any table: each of them grows, and whatever is updated in place gets slower.
//!
//! Sessions, prepared transactions, standbys with `hot_standby_feedback` and slots can hold one. The server tells the age
//! of the first two; of the others it tells the transaction that they hold, so that their age is the time since this was
//! seen first.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sqlx::PgConnection;

use crate::{Notice, RelayError, metrics, source::session::within, status::State};

/// What is known from one look to the next.
#[derive(Default)]
pub(crate) struct Snapshots {
    seen: HashMap<(String, i64), Instant>,
}

/// One that is held.
struct Held {
    /// `session`, `prepared transaction`, `standby` or `slot`.
    kind: String,
    name: String,
    /// The oldest transaction that it may have to see.
    transaction: i64,
    seconds: Option<f64>,
}

impl Snapshots {
    /// Looks who holds one, and tells; a person, if it is as old as this.
    pub(crate) async fn look(
        &mut self,
        connection: &mut PgConnection,
        state: &State,
        noteworthy: Duration,
    ) -> Result<(), RelayError> {
        let held = held(connection).await?;
        let oldest = self.oldest(&held, Instant::now());
        let age = oldest.map_or(Duration::ZERO, |(_, age)| age);
        ::metrics::gauge!(metrics::OLDEST_SNAPSHOT).set(age.as_secs_f64());
        state.holds_snapshot_for(age);
        let noteworthy = oldest.filter(|(_, age)| *age >= noteworthy);
        state.notices("snapshots", noteworthy.map(|(held, age)| held.notice(age)).into_iter().collect());
        Ok(())
    }

    fn oldest<'a>(&mut self, held: &'a [Held], now: Instant) -> Option<(&'a Held, Duration)> {
        let key = |held: &Held| (format!("{} {}", held.kind, held.name), held.transaction);
        let current: HashMap<_, _> =
            held.iter().map(key).map(|key| (key.clone(), self.seen.get(&key).copied().unwrap_or(now))).collect();
        self.seen = current;
        let age = |held: &Held| {
            let told = held.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            told.unwrap_or_else(|| now.saturating_duration_since(self.seen[&key(held)]))
        };
        held.iter().map(|held| (held, age(held))).max_by_key(|(_, age)| *age)
    }
}

impl Held {
    fn notice(&self, age: Duration) -> Notice {
        let Self { kind, name, .. } = self;
        let remedy = match kind.as_str() {
            "session" => "end its transaction, or the session: select pg_terminate_backend(<pid>)",
            "prepared transaction" => "commit prepared or rollback prepared it",
            "standby" => "end the long query there, or switch its hot_standby_feedback off",
            _ => "let its reader get on, or drop the slot",
        };
        Notice {
            about: "snapshot".to_owned(),
            notice: format!(
                "{kind} {name} has held a snapshot for {} s: no vacuum removes what died since, and tables grow",
                age.as_secs()
            ),
            remedy: remedy.to_owned(),
        }
    }
}

/// Everybody who holds a snapshot that keeps rows of this database, as far as this role may see it (`pg_monitor` sees all).
async fn held(connection: &mut PgConnection) -> Result<Vec<Held>, RelayError> {
    // A vacuum and a reader of the log hold none that would keep a row.
    let held = sqlx::query_as!(
        Held,
        r#"select 'session' as "kind!", pid || ' (' || application_name || ', ' || coalesce(state, '') || ')' as "name!",
                  coalesce(backend_xmin, backend_xid)::text::bigint as "transaction!",
                  extract(epoch from clock_timestamp() - xact_start)::float8 as seconds
             from pg_stat_activity
            where datname = current_database() and coalesce(backend_xmin, backend_xid) is not null
              and backend_type = 'client backend' and query not ilike 'vacuum%' and pid <> pg_backend_pid()
           union all
           select 'prepared transaction', gid, transaction::text::bigint,
                  extract(epoch from clock_timestamp() - prepared)::float8
             from pg_prepared_xacts where database = current_database()
           union all
           select 'standby', application_name, backend_xmin::text::bigint, null
             from pg_stat_replication where backend_xmin is not null
           union all
           select 'slot', slot_name::text, xmin::text::bigint, null
             from pg_replication_slots where xmin is not null"#
    );
    within(held.fetch_all(connection)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(name: &str, transaction: i64, seconds: Option<f64>) -> Held {
        Held { kind: "slot".to_owned(), name: name.to_owned(), transaction, seconds }
    }

    #[test]
    fn whose_age_nobody_tells_is_as_old_as_what_it_holds_was_first_seen() {
        let mut snapshots = Snapshots::default();
        let begin = Instant::now();
        let after = |seconds| begin + Duration::from_secs(seconds);
        let mut oldest =
            |held: &[Held], now| snapshots.oldest(held, now).map(|(held, age)| (held.name.clone(), age.as_secs()));
        assert_eq!(oldest(&[held("a", 7, None)], begin), Some(("a".to_owned(), 0)));
        assert_eq!(oldest(&[held("a", 7, None), held("b", 8, Some(5.0))], after(9)), Some(("a".to_owned(), 9)));
        assert_eq!(oldest(&[held("a", 9, None), held("b", 8, Some(6.0))], after(10)), Some(("b".to_owned(), 6)));
        assert_eq!(oldest(&[], after(11)), None);
    }
}
