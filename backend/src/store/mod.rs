//! SQL and nothing else: one statement a function, on a connection that the caller gives. Nothing here commits.
//!
//! Rooms are locked before members, everywhere: [`rooms::lock`] first. That order is what keeps posts, joins and leaves
//! free of deadlocks. (A read position is a member row alone and waits for no room.)

pub mod cursor;
pub mod members;
pub mod messages;
pub mod outbox;
pub mod rooms;
pub mod sessions;
pub mod timeline;
pub mod users;
