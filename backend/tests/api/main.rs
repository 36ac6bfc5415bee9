//! The backend as its clients see it: a real server, a real PostgreSQL, a database for each test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod app;
mod auth;
mod authority;
mod contracts;
mod demo;
mod direct;
mod lists;
mod log;
mod modes;
mod openapi;
mod posting;
mod problems;
mod read_model;
mod recorder;
mod refusals;
mod schema;
mod switching;
mod truth;
