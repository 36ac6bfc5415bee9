//! The backend as its clients see it: a real server, a real PostgreSQL, a database for each test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod app;
mod auth;
mod authority;
mod demo;
mod lists;
mod openapi;
mod posting;
mod problems;
mod schema;
mod truth;
