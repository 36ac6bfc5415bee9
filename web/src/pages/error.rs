//! What went wrong, as a page in the same look. Details of our faults go to the log, not to the reader.

use askama::Template;
use askama_web::WebTemplate;
use axum::{
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use backend::ApiError;

use super::Frame;

#[derive(Template, WebTemplate)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    status: u16,
    title: &'static str,
    words: &'static str,
}

/// Why a page could not be drawn.
pub(crate) enum PageError {
    /// There is nothing here, or nothing that this person may see.
    NotFound,
    /// What the API would have answered.
    Api(Box<ApiError>),
}

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self::Api(Box::new(error))
    }
}

impl PageError {
    /// The page that tells it.
    pub(crate) fn page(self, frame: Frame) -> Response {
        let status = match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            // Logs what is our fault.
            Self::Api(error) => error.into_response().status(),
        };
        let (title, words) = words(status);
        (status, [(header::CACHE_CONTROL, "no-store")], ErrorPage { frame, status: status.as_u16(), title, words })
            .into_response()
    }
}

fn words(status: StatusCode) -> (&'static str, &'static str) {
    match status {
        StatusCode::NOT_FOUND => (
            "There is nothing here",
            "The address may have a mistake, or the room is gone. Your rooms are where they were.",
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            "Not available just now",
            "The server is up but cannot reach its database. Nothing that was sent is lost. Reload the page in a moment.",
        ),
        status if status.is_server_error() => (
            "Something broke on our side",
            "It has been written to the log. Nothing that was sent is lost. Reload the page to try again.",
        ),
        _ => ("That did not work", "The address has something that does not belong there. Go on from one of these."),
    }
}

/// Every address that no route has. Programs get a short text, people a page.
pub(crate) async fn not_found(uri: Uri, headers: HeaderMap) -> Response {
    let wants_page = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    if !wants_page {
        return (StatusCode::NOT_FOUND, format!("There is nothing at {}.\n", uri.path())).into_response();
    }
    PageError::NotFound.page(Frame::new(&headers, None))
}
