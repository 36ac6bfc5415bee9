//! The private server as programs and tests meet it: real processes, real crashes.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests")]

mod crashes;
mod harness;
mod lifecycle;
mod testkit;
mod with_postgres;
