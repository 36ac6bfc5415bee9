//! What the browser may do with our pages: nothing from elsewhere, nothing inline, framed only by ourselves.

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};

use crate::WebState;

const FIXED: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
];

/// Adds the headers that every answer of this router has; a page that set its own policy keeps it.
pub(crate) async fn secure(State(state): State<WebState>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers
        .entry(HeaderName::from_static("cross-origin-opener-policy"))
        .or_insert(HeaderValue::from_static("same-origin"));
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY)
        && let Ok(policy) = HeaderValue::from_str(&content_security_policy(state.hub_url.as_deref()))
    {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// `'self'` covers the WebSocket of the page's own origin; a hub elsewhere is named.
fn content_security_policy(hub_url: Option<&str>) -> String {
    let hub = hub_url.and_then(origin).map(|origin| format!(" {origin}")).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'{hub}; \
         frame-src 'self'; frame-ancestors 'self'; form-action 'self'; base-uri 'none'"
    )
}

/// Scheme, host and port of an address: a policy takes no more.
fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let clean =
        !authority.is_empty() && authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    (matches!(scheme, "ws" | "wss") && clean).then(|| format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_names_the_hub_and_nothing_else() {
        let own = content_security_policy(None);
        assert!(own.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{own}");
        assert!(own.contains("connect-src 'self';"), "{own}");
        assert!(!own.contains("unsafe"), "{own}");
        let other = content_security_policy(Some("wss://hub.example:8001/connection/websocket"));
        assert!(other.contains("connect-src 'self' wss://hub.example:8001;"), "{other}");
    }

    #[test]
    fn an_address_cannot_smuggle_a_directive_into_the_policy() {
        assert_eq!(origin("ws://a; script-src *"), None);
        assert_eq!(origin("https://a.example"), None);
        assert_eq!(origin("ws://"), None);
    }
}
