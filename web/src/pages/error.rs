//! What went wrong, as a page in the same look. Details of our faults go to the log, not to the reader.

use std::borrow::Cow;

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
    words: Cow<'static, str>,
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
        let (why, answer) = match self {
            Self::NotFound => (String::new(), StatusCode::NOT_FOUND.into_response()),
            // Logs what is our fault.
            Self::Api(error) => (error.to_string(), error.into_response()),
        };
        let status = answer.status();
        let (title, words) = words(status, &why);
        let page = ErrorPage { frame, status: status.as_u16(), title, words };
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], page).into_response();
        // What the API's answer says beside its body: when to come back, and of what outage it is.
        if let Some(wait) = answer.headers().get(header::RETRY_AFTER) {
            response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
        }
        response.extensions_mut().extend(answer.into_parts().0.extensions);
        response
    }
}

fn words(status: StatusCode, why: &str) -> (&'static str, Cow<'static, str>) {
    match status {
        StatusCode::NOT_FOUND => (
            "There is nothing here",
            "The address may have a mistake, or the room is gone. Your rooms are where they were.".into(),
        ),
        StatusCode::SERVICE_UNAVAILABLE => (
            "Not available just now",
            format!("{why} Nothing that was sent is lost. Reload the page in a moment.").into(),
        ),
        status if status.is_server_error() => (
            "Something broke on our side",
            "It has been written to the log. Nothing that was sent is lost. Reload the page to try again.".into(),
        ),
        _ => (
            "That did not work",
            "The address has something that does not belong there. Go on from one of these.".into(),
        ),
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
