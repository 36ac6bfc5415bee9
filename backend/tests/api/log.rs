//! The write-ahead log as a logical decoder gives it: the messages in it, by a slot that ends with its connection.

use serde_json::Value;
use sqlx::{Connection, PgConnection};

/// A logical message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogicalMessage {
    pub(crate) transactional: bool,
    pub(crate) prefix: String,
    pub(crate) content: Value,
}

pub(crate) struct Log {
    conn: PgConnection,
    slot: String,
}

impl Log {
    /// Reads from here on.
    pub(crate) async fn open(url: &str) -> Self {
        let mut conn = PgConnection::connect(url).await.unwrap();
        let slot = format!("test_{:016x}", rand::random::<u64>());
        sqlx::query("select pg_create_logical_replication_slot($1, 'pgoutput', true)")
            .bind(&slot)
            .execute(&mut conn)
            .await
            .unwrap();
        Self { conn, slot }
    }

    /// The logical messages since the last call, in the order of the log.
    pub(crate) async fn messages(&mut self) -> Vec<LogicalMessage> {
        let records: Vec<Vec<u8>> = sqlx::query_scalar(
            "select data from pg_logical_slot_get_binary_changes(
                 $1, null, null, 'proto_version', '1', 'publication_names', 'roomcast_wal', 'messages', 'true')",
        )
        .bind(&self.slot)
        .fetch_all(&mut self.conn)
        .await
        .unwrap();
        records.iter().filter(|record| record[0] == b'M').map(|record| message(record)).collect()
    }
}

/// 'M', flags, LSN (8 bytes), prefix to a zero byte, length (4 bytes), content.
fn message(record: &[u8]) -> LogicalMessage {
    let (head, rest) = record.split_at(10);
    let end = rest.iter().position(|&byte| byte == 0).unwrap();
    LogicalMessage {
        transactional: head[1] & 1 == 1,
        prefix: String::from_utf8(rest[..end].to_vec()).unwrap(),
        content: serde_json::from_slice(&rest[end + 5..]).unwrap(),
    }
}
