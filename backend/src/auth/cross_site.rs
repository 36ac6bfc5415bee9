//! Refuses what a page of another origin makes a browser send.
//!
//! `Sec-Fetch-Site` is what the browser says of itself; older ones send only `Origin`, which must name this host.
//! Programs send neither, and have no cookie that somebody could borrow.

use axum::{
    extract::Request,
    http::{HeaderMap, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::ApiError;

/// Middleware for everything that a cookie opens.
pub(crate) async fn refuse_cross_site(request: Request, next: Next) -> Response {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if safe || is_own_page(request.headers(), request.uri()) {
        next.run(request).await
    } else {
        ApiError::CrossSite.into_response()
    }
}

fn is_own_page(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site") {
        // "same-site" is another port or a sibling domain: not us.
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(header::ORIGIN.as_str()) else { return true };
    let host = text(header::HOST.as_str()).or_else(|| uri.authority().map(axum::http::uri::Authority::as_str));
    origin.split_once("://").map(|(_, authority)| authority) == host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(headers: &[(&'static str, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        is_own_page(&headers, &Uri::from_static("/api/logout"))
    }

    #[test]
    fn only_own_pages_and_programs_may_write() {
        assert!(accepted(&[("host", "chat.example:8000")]));
        assert!(accepted(&[("host", "chat.example:8000"), ("origin", "http://chat.example:8000")]));
        assert!(accepted(&[("host", "behind-a-proxy"), ("sec-fetch-site", "same-origin"), ("origin", "https://a")]));
        assert!(!accepted(&[("host", "chat.example:8000"), ("origin", "http://chat.example:9000")]));
        assert!(!accepted(&[("host", "chat.example"), ("origin", "null")]));
        assert!(!accepted(&[("origin", "http://evil.example")]));
        for site in ["cross-site", "same-site", "é"] {
            assert!(!accepted(&[("host", "a"), ("origin", "http://a"), ("sec-fetch-site", site)]), "{site}");
        }
    }
}
