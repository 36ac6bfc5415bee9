//! SQL and nothing else: one statement a function, on a connection that the caller gives. Nothing here commits.
//!
//! Locks are taken in one order, everywhere: the mode ([`settings::broadcast_mode`]), then the room ([`rooms::lock`]), then
//! members. That order is what keeps posts, joins, leaves and switches of the mode free of deadlocks. (A read position is
//! a member row alone and waits for no room.)

pub mod announcements;
pub mod cursor;
pub mod members;
pub mod messages;
pub mod room_audit;
pub mod room_view;
pub mod rooms;
pub mod sessions;
pub mod settings;
pub mod timeline;
pub mod users;
