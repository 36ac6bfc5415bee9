//! Makes a slot such that nothing falls between it and the table.
//!
//! A draft of the slot, which only this session sees, marks a place in the log. What was committed before that place is
//! in the table: it is carried from there. Only then the draft becomes the slot, in one step; a crash on the way leaves
//! no slot, and the next relay begins again. What was committed meanwhile comes twice, which does no harm.

use protocol::Partition;
use sqlx::PgConnection;
use tracing::info;

use super::{
    Lanes,
    slot::{self, create_draft, publish_draft},
};
use crate::{
    RelayError,
    source::lane::{Content, Entry},
};

/// Makes the slot and gives the number of rows carried from the table; none if somebody else made it meanwhile.
pub(super) async fn make_slot(
    connection: &mut PgConnection,
    name: &str,
    lanes: &Lanes,
    limit: u16,
) -> Result<Option<u64>, RelayError> {
    let draft = draft_of(name);
    create_draft(connection, &draft).await?;
    info!("no replication slot: carrying what chat_cdc holds before there is one");
    let carried = carry_table(connection, lanes, limit).await?;
    Ok(publish_draft(connection, &draft, name).await?.then_some(carried))
}

/// By id, as a room's rows are: who writes one holds the room's lock from its number to its commit. A lower id that
/// becomes visible behind us was committed after the draft, so it comes from the log.
async fn carry_table(connection: &mut PgConnection, lanes: &Lanes, limit: u16) -> Result<u64, RelayError> {
    let ticket = lanes.ledger.open();
    let (mut after, mut carried) = (i64::MIN, 0);
    loop {
        let rows = slot::rows_in_table(connection, after, limit).await?;
        let Some(last) = rows.last() else { break };
        after = last.row.id;
        carried += rows.len() as u64;
        for row in rows {
            let queue = lanes.queue(row.row.partition);
            lanes.ledger.row(ticket);
            let sent = queue.send(Entry { content: Content::Row(row), mark: ticket }).await;
            sent.map_err(|_| RelayError::StreamEnded)?;
        }
    }
    lanes.ledger.close(ticket, pgwire_replication::Lsn::ZERO);
    let mut standing = lanes.ledger.watch();
    standing.wait_for(|standing| standing.open == 0).await.map_err(|_| RelayError::StreamEnded)?;
    Ok(carried)
}

/// At most 63 bytes, and no other relay's.
fn draft_of(name: &str) -> String {
    let room = name.len().min(63 - 15);
    format!("{}_draft_{:08x}", &name[..room], rand::random::<u32>())
}

impl Lanes {
    /// Every partition has a lane, also one that does not exist.
    pub(super) fn queue(&self, partition: Partition) -> &tokio::sync::mpsc::Sender<Entry<super::Ticket>> {
        let lanes = i16::try_from(self.queues.len()).unwrap_or(i16::MAX);
        &self.queues[usize::try_from(partition.0.rem_euclid(lanes)).unwrap_or(0)]
    }
}
