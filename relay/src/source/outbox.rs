//! The table `chat_outbox`: claims rows of the partitions that are ours, oldest first, and deletes what was settled.
//!
//! A claim takes no row lock and opens no transaction: the session's partition locks (see `partitions`) keep every
//! other relay away, and the rows stay until they are settled. It starts at its partition's floor (see `floor`), never
//! behind the last row seen: ids are taken before commit, so a lower one may become visible later.
//!
//! The statements force their plans by their shape (`lateral .. limit` cannot be turned round), because the planner
//! knows nothing useful about a table that is empty one moment and full the next.

use protocol::{PARTITIONS, Partition};
use sqlx::PgConnection;

use super::{Row, session::within};
use crate::{RelayError, letter_box::readable};

/// A batch of rows, grouped by partition and ordered by id in each.
#[derive(Debug)]
pub(crate) struct Batch {
    pub rows: Vec<Row>,
    /// There may be more: claim again without waiting.
    pub full: bool,
}

/// Rows that wait, and how long the oldest has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Lag {
    pub rows: i64,
    pub age_seconds: f64,
}

/// Rows that leave for `dead_letters`, as columns.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    pub partitions: Vec<i16>,
    pub ids: Vec<i64>,
    pub reasons: Vec<String>,
    pub attempts: Vec<i32>,
}

impl Letters {
    pub(crate) fn push(&mut self, partition: Partition, id: i64, reason: &str, attempts: u32) {
        self.partitions.push(partition.0);
        self.ids.push(id);
        self.reasons.push(readable(reason));
        self.attempts.push(i32::try_from(attempts).unwrap_or(i32::MAX));
    }
}

/// Claims up to `limit` rows of these partitions, above the floor of each, in one round trip. Partitions are served in the
/// order given.
pub(crate) async fn claim(
    connection: &mut PgConnection,
    partitions: &[i16],
    floors: &[i64],
    limit: u16,
) -> Result<Batch, RelayError> {
    let rows = sqlx::query_as!(
        ClaimedRow,
        r#"select o.id, p.partition as "partition!", o.method, o.payload as "payload!"
             from unnest($1::smallint[], $2::bigint[]) as p(partition, floor)
            cross join lateral (select id, method, payload::text as payload from chat_outbox
                                 where partition = p.partition and id > p.floor order by id limit $3) o
            limit $3"#,
        partitions,
        floors,
        i64::from(limit),
    );
    let rows = within(rows.fetch_all(connection)).await?;
    let full = rows.len() >= usize::from(limit);
    let mut rows: Vec<Row> = rows.into_iter().map(Row::from).collect();
    // They come like this already, and sorting what is sorted is one pass; but only an ORDER BY would promise it, and
    // that would cost the plan.
    let first = partitions.first().copied().unwrap_or(0);
    rows.sort_by_key(|row| ((row.partition.0 - first).rem_euclid(PARTITIONS), row.id));
    Ok(Batch { rows, full })
}

struct ClaimedRow {
    id: i64,
    partition: i16,
    method: String,
    payload: String,
}

impl From<ClaimedRow> for Row {
    fn from(row: ClaimedRow) -> Self {
        Self { id: row.id, partition: Partition(row.partition), method: row.method, payload: row.payload }
    }
}

/// Deletes exactly these rows, in one round trip. The ctid is read and used within one snapshot, so it cannot name
/// another row; it spares the planner a join that it would get wrong on an empty table.
pub(crate) async fn delete(connection: &mut PgConnection, partitions: &[i16], ids: &[i64]) -> Result<(), RelayError> {
    let deleted = sqlx::query!(
        "with settled as materialized (
             select o.ctid as place from unnest($1::smallint[], $2::bigint[]) as s(partition, id)
              cross join lateral (select ctid from chat_outbox where partition = s.partition and id = s.id limit 1) o)
         delete from chat_outbox where ctid = any(array(select place from settled))",
        partitions,
        ids,
    );
    within(deleted.execute(connection)).await?;
    Ok(())
}

/// Moves rows to `dead_letters`, in one statement, so that a row is always in exactly one of the two tables. A letter
/// with the same id can only be from before the table's ids were reset; the newer row takes its place.
pub(crate) async fn bury(connection: &mut PgConnection, letters: &Letters) -> Result<u64, RelayError> {
    let buried = sqlx::query!(
        "with dead as materialized (
             select o.ctid as place, d.id, d.reason, d.attempts
               from unnest($1::smallint[], $2::bigint[], $3::text[], $4::integer[]) as d(partition, id, reason, attempts)
              cross join lateral (select ctid from chat_outbox where partition = d.partition and id = d.id limit 1) o),
         gone as (
             delete from chat_outbox where ctid = any(array(select place from dead))
             returning id, method, payload, partition, created_at)
         insert into dead_letters as letter (source, source_id, method, payload, partition, reason, attempts, created_at)
         select 'outbox', gone.id, gone.method, gone.payload::text, gone.partition, dead.reason, dead.attempts,
                gone.created_at
           from gone join dead using (id)
         on conflict (source, source_id) do update
            set method = excluded.method, payload = excluded.payload, partition = excluded.partition,
                reason = excluded.reason, attempts = excluded.attempts, created_at = excluded.created_at,
                failed_at = now()",
        &letters.partitions,
        &letters.ids,
        &letters.reasons,
        &letters.attempts,
    );
    Ok(within(buried.execute(connection)).await?.rows_affected())
}

/// Up to this many rows of no known partition, which nobody would ever claim.
pub(crate) async fn strays(connection: &mut PgConnection, limit: u16) -> Result<Vec<(i16, i64)>, RelayError> {
    let strays = sqlx::query!(
        r#"(select partition as "partition!", id as "id!" from chat_outbox where partition < 0 limit $2)
           union all
           (select partition, id from chat_outbox where partition >= $1 limit $2)"#,
        PARTITIONS,
        i64::from(limit),
    );
    Ok(within(strays.fetch_all(connection)).await?.into_iter().map(|row| (row.partition, row.id)).collect())
}

/// What waits in these partitions, above the floor of each. Counts at most `limit` rows of each, so that a large backlog
/// stays cheap to look at.
pub(crate) async fn lag(
    connection: &mut PgConnection,
    partitions: &[i16],
    floors: &[i64],
    limit: i64,
) -> Result<Lag, RelayError> {
    let lag = sqlx::query_as!(
        Lag,
        r#"select coalesce(sum(waiting.rows), 0)::bigint as "rows!",
                  coalesce(max(greatest(extract(epoch from clock_timestamp() - oldest.created_at), 0)), 0)::float8
                      as "age_seconds!"
             from unnest($1::smallint[], $2::bigint[]) as p(partition, floor)
             left join lateral (select created_at from chat_outbox where partition = p.partition and id > p.floor
                                 order by id limit 1) oldest on true
             left join lateral (select count(*) as rows from
                                   (select from chat_outbox where partition = p.partition and id > p.floor
                                     limit $3) counted) waiting
                    on true"#,
        partitions,
        floors,
        limit,
    );
    within(lag.fetch_one(connection)).await
}
