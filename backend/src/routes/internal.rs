//! `/internal/*`: the questions of a hub that runs in another process. The answers are [`crate::authority`]'s.

use axum::{
    Router,
    extract::{Path, State},
    routing::get,
};
use protocol::{Channel, Offset};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, ApiState,
    authority::{self, Access, Backlog, Subscription},
    extract::{Json, Query},
};

const LARGEST_BACKLOG: u32 = 1000;

#[derive(Serialize)]
struct Subscriptions {
    subscriptions: Vec<Subscription>,
}

#[derive(Deserialize)]
struct AccessQuery {
    user: String,
    channel: Channel,
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
        .route("/internal/users/{user}/subscriptions", get(subscriptions))
        .route("/internal/access", get(access))
        .route("/internal/backlog", get(backlog))
}

async fn subscriptions(
    State(state): State<ApiState>,
    Path(user): Path<String>,
) -> Result<Json<Subscriptions>, ApiError> {
    Ok(Json(Subscriptions { subscriptions: authority::subscriptions(&state.db, &user).await? }))
}

async fn access(State(state): State<ApiState>, Query(query): Query<AccessQuery>) -> Result<Json<Access>, ApiError> {
    Ok(Json(authority::access(&state.db, &query.user, &query.channel).await?))
}

async fn backlog(State(state): State<ApiState>, Query(query): Query<BacklogQuery>) -> Result<Json<Backlog>, ApiError> {
    let limit = query.limit.unwrap_or(LARGEST_BACKLOG).clamp(1, LARGEST_BACKLOG);
    let backlog = authority::backlog(&state.db, &query.channel, query.after, limit).await?;
    backlog.map(Json).ok_or(ApiError::NoSuchChannel)
}
