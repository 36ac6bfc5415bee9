//! Which of a client's offers of permessage-deflate is accepted, and with what answer (RFC 7692 §5, §7.1).

use axum::http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};

use super::WINDOW_BITS;

const SERVER_WINDOW: &str = "server_max_window_bits";
const CLIENT_WINDOW: &str = "client_max_window_bits";

/// The answer to the first offer that can be accepted.
pub(crate) fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|value| value.to_str().ok());
    // A value in quotes is a token as well, so a comma in one is a mistake.
    let parameters = lines.flat_map(|line| line.split(',')).find_map(parameters)?;
    // That nothing is kept may be said unasked; a smaller window is only for those who ask.
    Some(HeaderValue::from_static(if parameters.contains(&SERVER_WINDOW) {
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12"
    } else {
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    }))
}

/// The names of an offer's parameters; `None` if it is something else, is not well-formed, or asks for what cannot be had.
fn parameters(offer: &str) -> Option<Vec<&str>> {
    let mut parts = offer.split(';').map(str::trim);
    if parts.next() != Some("permessage-deflate") {
        return None;
    }
    let mut names = Vec::new();
    for part in parts {
        let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name.trim_end(), Some(value)));
        let can_be_kept = match (name, value) {
            ("server_no_context_takeover" | "client_no_context_takeover" | CLIENT_WINDOW, None) => true,
            // How far back the client refers is up to it.
            (CLIENT_WINDOW, Some(value)) => bits(value).is_some(),
            (SERVER_WINDOW, Some(value)) => bits(value).is_some_and(|bits| bits >= WINDOW_BITS),
            _ => false,
        };
        if !can_be_kept || names.contains(&name) {
            return None;
        }
        names.push(name);
    }
    Some(names)
}

/// 8 to 15, perhaps in quotes.
fn bits(value: &str) -> Option<u8> {
    let value = value.trim_start();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let plain = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    value.parse().ok().filter(|bits| plain && (8..=15).contains(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    const SMALLER: &str =
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12";

    fn answer(lines: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(line).unwrap());
        }
        accept(&headers).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn every_offer_that_can_be_kept_is_accepted() {
        for (offer, expected) in [
            ("permessage-deflate", PLAIN),
            ("permessage-deflate; client_max_window_bits", PLAIN),
            ("permessage-deflate; client_max_window_bits=9; client_no_context_takeover", PLAIN),
            ("permessage-deflate;server_no_context_takeover;client_no_context_takeover", PLAIN),
            ("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12", SMALLER),
            ("permessage-deflate ; server_max_window_bits = \"15\"", SMALLER),
            ("x-webkit-deflate-frame, permessage-deflate", PLAIN),
            ("permessage-deflate; server_max_window_bits=10, permessage-deflate", PLAIN),
            ("permessage-deflate; server_max_window_bits=14, permessage-deflate", SMALLER),
        ] {
            assert_eq!(answer(&[offer]).as_deref(), Some(expected), "{offer}");
        }
        assert_eq!(answer(&["x-other", "permessage-deflate"]).as_deref(), Some(PLAIN), "over several lines");
    }

    #[test]
    fn what_cannot_be_kept_or_understood_is_declined() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; unknown",
            "permessage-deflate;",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover=true",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=11",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=012",
            "permessage-deflate; server_max_window_bits=+12",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=\"\"",
        ] {
            assert_eq!(answer(&[offer]), None, "{offer}");
        }
        assert_eq!(answer(&[]), None);
    }
}
