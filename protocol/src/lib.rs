//! The words that every part of Roomcast shares: ids, channels, positions, rows, publications and events.
//!
//! Only data and its JSON, and what every part has to see alike: which refusals of PostgreSQL pass, how a trouble is told,
//! how long a connection may be [silent](silence). What is parsed here is trusted inside; nothing here talks to a database
//! or a socket.

mod channel;
mod command;
mod complaint;
mod event;
mod id;
mod mode;
mod partition;
mod position;
mod refusal;
pub mod silence;
pub mod token;

pub use channel::{Channel, ChannelError};
pub use command::{
    Broadcast, Command, CommandError, Disconnect, DisconnectReason, HistoryRemove, Override, Overrides, Publish,
    Refresh, Subscribe, Unsubscribe,
};
pub use complaint::{Complaint, Relief, Trouble};
pub use event::{Author, ChatEvent, Kind, ModeEvent, ReadEvent, SCHEMA, TimelineEvent};
pub use id::{ClientMessageId, RoomId, UserId};
pub use mode::{Mode, UnknownMode};
pub use partition::{PARTITIONS, Partition};
pub use position::{Epoch, Offset, Position};
pub use refusal::Refusal;
