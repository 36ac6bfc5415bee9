//! What can go wrong with a request, and how it is told: one problem format (RFC 9457) for every error of the API.
//!
//! An error is logged once, here, where it becomes an answer; only those that are our fault are. What the database refuses
//! for the moment is told by `outage`, once for all requests.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{mode::SetError, outage::Met, poster::PostError};

/// An error as the client gets it, `application/problem+json`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:roomcast:` and the code.
    pub r#type: String,
    /// The status in words.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened, for a person.
    pub detail: String,
    /// What happened, for a program; stable.
    pub code: &'static str,
    /// Which fields are wrong; only with `invalid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Its name.
    pub field: String,
    /// What is wrong, for a person.
    pub message: String,
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No session, or one that has ended.
    #[error("Sign in first.")]
    Unauthenticated,
    /// Unknown username or wrong password: which one is not told.
    #[error("The username or the password is wrong.")]
    WrongCredentials,
    /// `/internal/*` without the key.
    #[error("This address is for the other parts of the system.")]
    WrongKey,
    /// An unsafe request from a page of another origin.
    #[error("Requests from other sites are refused.")]
    CrossSite,
    /// Neither reads nor writes.
    #[error("You are not a member of this room.")]
    NotMember,
    /// Only for who may administer.
    #[error("Only administrators may do this.")]
    NotAdmin,
    /// Messages of this mode would be written and not be carried.
    #[error("Mode {mode} cannot be had: {missing}.")]
    ModeUnavailable {
        /// The mode that was asked for.
        mode: protocol::Mode,
        /// What is missing.
        missing: &'static str,
    },
    /// Also what is not a number.
    #[error("There is no such room.")]
    NoSuchRoom,
    /// The hub asked for a channel that nobody counts.
    #[error("There is no such channel.")]
    NoSuchChannel,
    /// No route.
    #[error("There is nothing at this address.")]
    NotFound,
    /// A route, but not for this method.
    #[error("This address does not take this method.")]
    MethodNotAllowed,
    /// Somebody else has it.
    #[error("This username is taken.")]
    UsernameTaken,
    /// Whatever the case.
    #[error("There is a room of this name already.")]
    RoomNameTaken,
    /// The fields, each with its reason.
    #[error("Some fields are not valid.")]
    Invalid(Vec<FieldError>),
    /// Not JSON at all.
    #[error("The body is not valid JSON: {0}")]
    Syntax(String),
    /// A parameter of the address.
    #[error("The address has a wrong parameter: {0}")]
    Query(String),
    /// The body is not announced as JSON.
    #[error("Send the body as application/json.")]
    NotJson,
    /// More than 64 KiB.
    #[error("The body is too large.")]
    TooLarge,
    /// The connection broke in the middle of the body.
    #[error("The body did not arrive as a whole.")]
    BrokenBody,
    /// Too many wrong passwords.
    #[error("Too many attempts. Try again in {} s.", .0.as_secs().max(1))]
    TooManyAttempts(Duration),
    /// The queues are full.
    #[error("The server is busy. Try again in a moment.")]
    Busy,
    /// On the way out.
    #[error("The server is stopping. Try again in a moment.")]
    Stopping,
    /// Somebody has locked the room, or too many want to change it at once.
    #[error("This room is locked or crowded at the moment. Try again in a moment.")]
    RoomBusy,
    /// PostgreSQL does not do it now, and may do it later.
    #[error("{}", .refusal.words())]
    Refused {
        /// Why.
        refusal: Refusal,
        /// What it said.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// A statement failed for a reason that no branch foresaw.
    #[error("Something went wrong on our side.")]
    Database(#[source] Arc<sqlx::Error>),
    /// Anything else that is our fault.
    #[error("Something went wrong on our side.")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    /// Wraps an error that no client can do anything about.
    pub fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    /// One field that is wrong.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// The status and the stable code.
    pub fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
            Self::WrongCredentials => (StatusCode::UNAUTHORIZED, "wrong_credentials"),
            Self::WrongKey => (StatusCode::UNAUTHORIZED, "wrong_key"),
            Self::CrossSite => (StatusCode::FORBIDDEN, "cross_site"),
            Self::NotMember => (StatusCode::FORBIDDEN, "not_member"),
            Self::NotAdmin => (StatusCode::FORBIDDEN, "not_admin"),
            Self::ModeUnavailable { .. } => (StatusCode::CONFLICT, "mode_unavailable"),
            Self::NoSuchRoom => (StatusCode::NOT_FOUND, "no_such_room"),
            Self::NoSuchChannel => (StatusCode::NOT_FOUND, "no_such_channel"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::UsernameTaken => (StatusCode::CONFLICT, "username_taken"),
            Self::RoomNameTaken => (StatusCode::CONFLICT, "room_name_taken"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Self::Syntax(_) => (StatusCode::BAD_REQUEST, "json_syntax"),
            Self::Query(_) => (StatusCode::BAD_REQUEST, "wrong_parameter"),
            Self::NotJson => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Self::BrokenBody => (StatusCode::BAD_REQUEST, "broken_body"),
            Self::TooManyAttempts(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            Self::RoomBusy => (StatusCode::SERVICE_UNAVAILABLE, "room_busy"),
            Self::Refused { refusal, .. } => (StatusCode::SERVICE_UNAVAILABLE, refusal.code()),
            Self::Database(_) | Self::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// The error as a client gets it.
    pub fn problem(&self) -> Problem {
        let (status, code) = self.status_and_code();
        Problem {
            r#type: format!("urn:roomcast:{code}"),
            title: status.canonical_reason().unwrap_or("Error").into(),
            status: status.as_u16(),
            detail: self.to_string(),
            code,
            errors: if let Self::Invalid(errors) = self { errors.clone() } else { Vec::new() },
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts(wait) => Some(*wait),
            Self::Busy | Self::Stopping | Self::RoomBusy => Some(Duration::from_secs(1)),
            Self::Refused { refusal, .. } => Some(refusal.wait()),
            _ => None,
        }
    }

    /// An error of a statement that works under a room's lock.
    pub(crate) fn of_room(error: impl Into<Self>) -> Self {
        match error.into() {
            Self::Refused { refusal: Refusal::Locked, .. } => Self::RoomBusy,
            error => error,
        }
    }

    fn log(&self) {
        match self {
            Self::Database(error) => tracing::error!(%error, "a request failed in the database: {error}"),
            Self::Internal(error) => tracing::error!(%error, "a request failed: {error}"),
            _ => {}
        }
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::from(Arc::new(error))
    }
}

impl From<Arc<sqlx::Error>> for ApiError {
    fn from(error: Arc<sqlx::Error>) -> Self {
        match refusal_of(&error) {
            Some(refusal) => Self::Refused { refusal, source: error },
            None if matches!(*error, sqlx::Error::PoolClosed) => Self::Stopping,
            None => Self::Database(error),
        }
    }
}

impl From<SetError> for ApiError {
    fn from(error: SetError) -> Self {
        match error {
            SetError::Unavailable { mode, missing } => Self::ModeUnavailable { mode, missing },
            SetError::Database(error) => error.into(),
        }
    }
}

impl From<PostError> for ApiError {
    fn from(error: PostError) -> Self {
        match error {
            PostError::Full => Self::Busy,
            PostError::Stopping => Self::Stopping,
            PostError::Interrupted => Self::internal(error),
            PostError::Failed(error) => Self::of_room(error),
        }
    }
}

/// Why the database did not do it, where the same may pass later. None: the statement is to blame, or the program.
pub(crate) fn refusal_of(error: &sqlx::Error) -> Option<Refusal> {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => {
            Some(Refusal::Away)
        }
        sqlx::Error::PoolTimedOut => Some(Refusal::Busy),
        sqlx::Error::Database(error) => error.code().as_deref().and_then(Refusal::of),
        _ => None,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.log();
        let mut response = (self.status_and_code().0, axum::Json(self.problem())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(wait) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        if let Self::Refused { refusal, source } = self {
            response.extensions_mut().insert(Met { refusal, error: source });
        }
        response
    }
}
