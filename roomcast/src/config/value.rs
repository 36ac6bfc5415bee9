//! Values in the words of a command line.

use std::time::Duration;

use protocol::silence::{LONGEST, SHORTEST};

/// `250ms`, `5s`, `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("\"{text}\" is not a duration such as 300ms or 5s"))?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        _ => Err(format!("\"{text}\" needs a unit: ms, s or m")),
    }
    .and_then(|duration| if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) })
}

/// A duration that is of use as [`protocol::silence`].
pub(super) fn silence(text: &str) -> Result<Duration, String> {
    let bound = duration(text)?;
    if (SHORTEST..=LONGEST).contains(&bound) {
        Ok(bound)
    } else {
        Err(format!("ROOMCAST_SILENCE must be from {SHORTEST:?} to {} minutes", LONGEST.as_secs() / 60))
    }
}

/// `http://host:port`, without a path.
pub(super) fn origin(text: &str) -> Result<String, String> {
    let uri: axum::http::Uri = text.parse().map_err(|error| format!("\"{text}\" is not an address: {error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) if uri.path().len() <= 1 => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(format!("\"{text}\" must look like http://host:port")),
    }
}

/// An origin, or `dns+http://name:port` for all that the name stands for.
pub(super) fn hubs(text: &str) -> Result<String, String> {
    match text.strip_prefix("dns+") {
        None => origin(text),
        Some(rest) => match rest.parse::<axum::http::Uri>() {
            Ok(uri) if uri.scheme_str() == Some("http") && uri.port().is_some() && uri.path().len() <= 1 => {
                Ok(text.trim_end_matches('/').to_owned())
            }
            _ => Err(format!("\"{text}\" must look like dns+http://name:port")),
        },
    }
}
