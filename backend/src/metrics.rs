//! Names of what the backend counts and times. A recorder is the executable's affair.

use metrics::{Unit, describe_counter, describe_histogram};

/// Posts by `outcome`: new, repeat, denied, unknown, busy, failed.
pub const POSTS: &str = "roomcast_posts_total";
/// Messages written by one transaction.
pub const POST_BATCH_SIZE: &str = "roomcast_post_batch_size";
/// From the arrival of a post to its commit.
pub const POST_SECONDS: &str = "roomcast_post_seconds";
/// Posts that were accepted and are not answered yet.
pub const POSTS_PENDING: &str = "roomcast_posts_pending";
/// Statements that were tried again, by `reason`: clash, connection or locked.
pub const POST_RETRIES: &str = "roomcast_post_retries_total";
/// Requests that the database refused for the moment, by `code`: see `docs/refusals.md`.
pub const REFUSALS: &str = "roomcast_refusals_total";
/// Commands that the backend published itself and the hub accepted.
pub const DIRECT_PUBLISHED: &str = "roomcast_direct_published_total";
/// Publications of mode `api` that did not arrive, by `reason`: unavailable, refused, full, `no_hub`, stopped, failed.
pub const DIRECT_LOST: &str = "roomcast_direct_lost_total";
/// Commands that did not arrive by the direct way and have a row that does, by `reason`.
pub const DIRECT_LEFT_TO_THE_ROW: &str = "roomcast_direct_left_to_the_row_total";
/// Direct publications that were tried again.
pub const DIRECT_RETRIES: &str = "roomcast_direct_retries_total";

/// Gives a recorder the texts that go with the names.
pub fn describe() {
    describe_counter!(POSTS, "Posts by outcome");
    describe_histogram!(POST_BATCH_SIZE, "Messages written by one transaction");
    describe_histogram!(POST_SECONDS, Unit::Seconds, "From the arrival of a post to its commit");
    metrics::describe_gauge!(POSTS_PENDING, "Posts that are accepted and not answered yet");
    describe_counter!(POST_RETRIES, "Statements of the write path that were tried again, by reason");
    describe_counter!(REFUSALS, "Requests that the database refused for the moment, by code");
    describe_counter!(DIRECT_PUBLISHED, "Commands that the backend published itself and the hub accepted");
    describe_counter!(DIRECT_LOST, "Publications of mode api that did not arrive and that nobody carries, by reason");
    describe_counter!(DIRECT_LEFT_TO_THE_ROW, "Commands that did not arrive directly; their rows do, by reason");
    describe_counter!(DIRECT_RETRIES, "Direct publications that were tried again");
}
