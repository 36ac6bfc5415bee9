//! The read model on the real thing: messages written as the backend writes them, Debezium, Kafka, the consumer, the
//! room list.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests")]

mod chat;
mod process;
mod rebuilding;
mod running;
mod stack;
