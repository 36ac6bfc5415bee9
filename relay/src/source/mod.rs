//! Where rows come from: the table `chat_outbox`, the write-ahead log of PostgreSQL, or Kafka, where Debezium left them.
//!
//! A source gives [`Row`]s, ordered within each partition, to [`crate::dispatch`], and takes back what became of them.
//! Rows of the outbox are deleted then; a log is told how far everything has been settled.

mod debezium;
pub(crate) mod floor;
pub(crate) mod kafka;
pub(crate) mod lane;
pub(crate) mod outbox;
pub(crate) mod partitions;
pub(crate) mod session;
pub(crate) mod wal;

use protocol::Partition;

/// One row as a source read it. Its payload is JSON text that nobody has looked into yet.
#[derive(Debug)]
pub(crate) struct Row {
    pub id: i64,
    pub partition: Partition,
    pub method: String,
    pub payload: String,
}

impl AsRef<Self> for Row {
    fn as_ref(&self) -> &Self {
        self
    }
}
