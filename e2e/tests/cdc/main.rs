//! Every way of a message, on the real components: Kafka, Connect and Debezium beside PostgreSQL and the product's own
//! processes. Whatever stops, dies or gets lost on the way, the clients end with exactly the database's timeline.
//!
//! All tests share one stage and have it one after the other, as names of topics, groups and slots are the product's.

mod api;
mod connect;
mod consumers;
mod delivery;
mod leftovers;
mod names;
mod nodes;
mod poison;
mod stage;
mod storage;
mod switching;
