//! Where rows come from. So far: the table `chat_outbox`.
//!
//! A source gives [`Row`]s, ordered within each partition, to [`crate::dispatch`], and takes back what became of them.

pub(crate) mod outbox;
pub(crate) mod partitions;
pub(crate) mod session;

use protocol::Partition;

/// One row as a source read it. Its payload is JSON text that nobody has looked into yet.
#[derive(Debug)]
pub(crate) struct Row {
    pub id: i64,
    pub partition: Partition,
    pub method: String,
    pub payload: String,
}
