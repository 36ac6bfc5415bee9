//! The relay against a real PostgreSQL and a real Kafka. The destination is the trait's other side: it remembers what arrives, and fails
//! when it is told to.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

mod cleaning;
mod dead_letters;
mod engine;
mod events;
mod failures;
mod floors;
mod group;
mod kafka;
mod logs;
mod order;
mod ownership;
mod probes;
mod recorder;
mod running;
mod setup;
mod stack;
mod starting;
mod stopping;
mod wakeups;
mod wal;
