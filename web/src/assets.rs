//! The client's files, embedded: each at an address that names its content, so that browsers keep it for ever.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// One file of the bundle.
struct Asset {
    /// What sources call it.
    plain: &'static str,
    /// The same with the hash of its content.
    name: &'static str,
    bytes: &'static [u8],
    gzip: &'static [u8],
}

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/client/table.rs"));

/// The address of a file of the bundle. A name that is not there is a mistake in a template; a test looks for it.
pub(crate) fn address(plain: &str) -> String {
    let name = ASSETS.iter().find(|asset| asset.plain == plain).map_or(plain, |asset| asset.name);
    format!("/static/{name}")
}

/// `/static/*`, and the icon where browsers look for it unasked.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/static/{name}", get(file)).route("/favicon.ico", get(icon))
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.name == name) {
        Some(asset) => {
            ([(header::CACHE_CONTROL, "public, max-age=31536000, immutable")], sent(asset, &headers)).into_response()
        }
        None => (StatusCode::NOT_FOUND, "no such file\n").into_response(),
    }
}

async fn icon(headers: HeaderMap) -> Response {
    match ASSETS.iter().find(|asset| asset.plain == "favicon.svg") {
        Some(asset) => ([(header::CACHE_CONTROL, "public, max-age=86400")], sent(asset, &headers)).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn sent(asset: &Asset, headers: &HeaderMap) -> Response {
    let kind = [(header::CONTENT_TYPE, content_type(asset.plain)), (header::VARY, "accept-encoding")];
    if accepts_gzip(headers) {
        (kind, [(header::CONTENT_ENCODING, "gzip")], asset.gzip).into_response()
    } else {
        (kind, asset.bytes).into_response()
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim() == "gzip" && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_a_template_names_is_in_the_bundle() {
        for name in ["chat.js", "login.js", "demo.js", "page.js", "roomcast.css", "favicon.svg"] {
            let address = address(name);
            assert!(address != format!("/static/{name}"), "{name} is not in the bundle");
            assert_ne!(content_type(&address), "application/octet-stream");
        }
    }

    #[tokio::test]
    async fn a_file_is_kept_for_ever_and_packed_for_who_can_unpack_it() {
        let asset = &ASSETS[0];
        let plain = file(Path(asset.name.to_owned()), HeaderMap::new()).await;
        assert_eq!(plain.headers()[header::CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert!(!plain.headers().contains_key(header::CONTENT_ENCODING));
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, "br, gzip;q=0.8".parse().unwrap())]);
        let packed = file(Path(asset.name.to_owned()), headers).await;
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        assert_eq!(file(Path("chat.js".to_owned()), HeaderMap::new()).await.status(), StatusCode::NOT_FOUND);
    }
}
