//! `/internal/*`: the questions of a hub that runs in another process. The answers are [`crate::authority`]'s.

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    routing::{get, post},
};
use protocol::{Channel, Offset, UserId};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, ApiState,
    authority::{self, Access, Backlog, Question, Subscription},
    extract::{Json, Query},
};

const LARGEST_BACKLOG: u32 = 1000;
/// A hub asks for hundreds at a time.
const MAX_BODY_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
struct Users {
    users: Vec<UserId>,
}

/// Those of each user, in the order in which they were asked for.
#[derive(Serialize)]
struct Subscriptions {
    subscriptions: Vec<Vec<Subscription>>,
}

#[derive(Deserialize)]
struct Questions {
    questions: Vec<Question>,
}

/// In the order of the questions.
#[derive(Serialize)]
struct Answers {
    answers: Vec<Access>,
}

#[derive(Deserialize)]
struct BacklogQuery {
    channel: Channel,
    #[serde(default)]
    after: Offset,
    limit: Option<u32>,
}

pub(super) fn router() -> Router<ApiState> {
    Router::new()
        .route("/internal/subscriptions", post(subscriptions))
        .route("/internal/access", post(access))
        .route("/internal/backlog", get(backlog))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn subscriptions(
    State(state): State<ApiState>,
    Json(Users { users }): Json<Users>,
) -> Result<Json<Subscriptions>, ApiError> {
    Ok(Json(Subscriptions { subscriptions: authority::subscriptions(&state.db, &users).await? }))
}

async fn access(
    State(state): State<ApiState>,
    Json(Questions { questions }): Json<Questions>,
) -> Result<Json<Answers>, ApiError> {
    Ok(Json(Answers { answers: authority::access(&state.db, &questions).await? }))
}

async fn backlog(State(state): State<ApiState>, Query(query): Query<BacklogQuery>) -> Result<Json<Backlog>, ApiError> {
    let limit = query.limit.unwrap_or(LARGEST_BACKLOG).clamp(1, LARGEST_BACKLOG);
    let backlog = authority::backlog(&state.db, &query.channel, query.after, limit).await?;
    backlog.map(Json).ok_or(ApiError::NoSuchChannel)
}
