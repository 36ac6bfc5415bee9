//! Whatever process is killed whenever, each member's client ends with exactly the database's timeline.
//!
//! Every scenario runs against the product in one process and in three.

mod faults;
mod kills;
mod modes;
mod own_server;
mod refusals;
mod silence;

use embedded_postgres::testkit::TestDatabase;

/// Rooms in the load.
const ROOMS: usize = 20;
/// Messages in all.
const MESSAGES: usize = 1_000;

/// A database that the product will migrate itself.
async fn database() -> TestDatabase {
    static NOTHING: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT;
    embedded_postgres::testkit::database(&NOTHING).await
}
