//! The real thing: Kafka, Connect and Debezium out of their jars, beside a private PostgreSQL.
//!
//! One stack for all tests of the process, as it takes seconds to start, and one database a test. What disturbs the stack
//! holds it alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests")]

mod applying;
mod faults;
mod harness;
mod known_keys;
mod lifecycle;
mod records;
mod supervising;
