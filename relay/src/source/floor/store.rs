//! What the floors ask of the database.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::closing::Holder;
use crate::{RelayError, source::session::within};

/// A run of a server, and a database on it: what one session finds out holds for another only if both are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server(pub(super) String);

impl Server {
    /// The one that this session is on.
    pub(crate) async fn of(connection: &mut PgConnection) -> Result<Self, RelayError> {
        let server = sqlx::query_scalar!(
            r#"select pg_postmaster_start_time()::text || '/' || oid::text as "server!"
                 from pg_database where datname = current_database()"#
        );
        Ok(Self(within(server.fetch_one(connection)).await?))
    }
}

/// How ids are given.
pub(super) struct Sequence {
    /// The last one given; none that we may see means none.
    pub last: i64,
    /// Sessions keep ids in reserve (`cache` above 1): one given long ago may be used at any time.
    pub reserved: bool,
}

pub(super) async fn sequence(connection: &mut PgConnection) -> Result<Sequence, RelayError> {
    let sequence = sqlx::query_as!(
        Sequence,
        r#"select coalesce(pg_sequence_last_value(seqrelid), 0) as "last!", seqcache > 1 as "reserved!"
             from pg_sequence where seqrelid = pg_get_serial_sequence('chat_outbox', 'id')::regclass"#
    );
    within(sequence.fetch_one(connection)).await
}

/// Everybody who may be inserting. (Those who delete hold the same lock.)
pub(super) async fn holders(connection: &mut PgConnection) -> Result<BTreeSet<Holder>, RelayError> {
    let holders = sqlx::query_as!(
        Holder,
        r#"select virtualtransaction as "transaction!", pid is null as "prepared!" from pg_locks
            where locktype = 'relation' and relation = 'chat_outbox'::regclass and mode = 'RowExclusiveLock' and granted
              and database = (select oid from pg_database where datname = current_database())"#
    );
    Ok(within(holders.fetch_all(connection)).await?.into_iter().collect())
}

/// A row below its partition's floor, above `after` and up to `upto`.
pub(super) async fn below(
    connection: &mut PgConnection,
    partitions: &[i16],
    floors: &[i64],
    after: i64,
    upto: i64,
) -> Result<Option<(i16, i64)>, RelayError> {
    let found = sqlx::query!(
        r#"select p.partition as "partition!", o.id
             from unnest($1::smallint[], $2::bigint[]) as p(partition, floor)
            cross join lateral (select id from chat_outbox
                                 where partition = p.partition and id > $3 and id <= least(p.floor, $4)
                                 order by id limit 1) o
            limit 1"#,
        partitions,
        floors,
        after,
        upto,
    );
    Ok(within(found.fetch_optional(connection)).await?.map(|row| (row.partition, row.id)))
}

/// The floors that were kept for these partitions. None that lies above the last id given: ids were reset since.
pub(crate) async fn kept(connection: &mut PgConnection, partitions: &[i16]) -> Result<BTreeMap<i16, i64>, RelayError> {
    let kept = sqlx::query!(
        "select partition, floor from outbox_floors
          where partition = any($1)
            and floor <= (select pg_sequence_last_value(pg_get_serial_sequence('chat_outbox', 'id')::regclass))",
        partitions,
    );
    Ok(within(kept.fetch_all(connection)).await?.into_iter().map(|row| (row.partition, row.floor)).collect())
}

/// Keeps floors for whoever takes these partitions over. One that is there and higher stays: it was safe, too.
pub(super) async fn keep(connection: &mut PgConnection, partitions: &[i16], floors: &[i64]) -> Result<(), RelayError> {
    let kept = sqlx::query!(
        "insert into outbox_floors as kept (partition, floor)
         select * from unnest($1::smallint[], $2::bigint[])
             on conflict (partition) do update set floor = excluded.floor where kept.floor < excluded.floor",
        partitions,
        floors,
    );
    within(kept.execute(connection)).await?;
    Ok(())
}

/// Forgets all of them.
pub(super) async fn forget(connection: &mut PgConnection) -> Result<(), RelayError> {
    within(sqlx::query!("delete from outbox_floors").execute(connection)).await?;
    Ok(())
}
