//! Who may open a connection at all, before a word of the protocol: pages of known origins, and not too many at once.

use std::time::Instant;

use axum::http::{HeaderMap, StatusCode, Uri, header};
use parking_lot::Mutex;

use crate::config::HubConfig;

/// Lets connections in, or says why not.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    bucket: Mutex<Option<Bucket>>,
}

/// As many tokens as connections may be opened now; it fills up by the second.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    since: Instant,
}

/// The status that refuses a connection, and why in words.
pub(crate) type Refusal = (StatusCode, &'static str);

impl Gate {
    /// `open` is the number of connections that are there already.
    pub(crate) fn pass(&self, config: &HubConfig, headers: &HeaderMap, open: usize) -> Result<(), Refusal> {
        if !comes_from_a_known_page(headers, &config.allowed_origins) {
            return Err((StatusCode::FORBIDDEN, "Pages of this origin may not connect.\n"));
        }
        let full = config.connection_limit > 0 && open >= config.connection_limit;
        if full || !self.take(config.connection_rate_limit, Instant::now()) {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "Too many connections: come back later.\n"));
        }
        Ok(())
    }

    /// Takes one of `rate` tokens a second; 0 is any number.
    fn take(&self, rate: u32, now: Instant) -> bool {
        if rate == 0 {
            return true;
        }
        let rate = f64::from(rate);
        let mut bucket = self.bucket.lock();
        let mut filled = bucket.map_or(Bucket { tokens: rate, since: now }, |bucket| {
            let passed = now.saturating_duration_since(bucket.since).as_secs_f64();
            Bucket { tokens: (bucket.tokens + passed * rate).min(rate), since: now }
        });
        let passes = filled.tokens >= 1.0;
        if passes {
            filled.tokens -= 1.0;
        }
        *bucket = Some(filled);
        passes
    }
}

/// A browser always says where a page comes from; other clients say nothing and are let in.
pub(crate) fn comes_from_a_known_page(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if !allowed.is_empty() {
        let origin = origin.to_ascii_lowercase();
        return allowed.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &origin));
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse::<Uri>().ok());
    let (Some(own), Ok(origin)) = (host, origin.parse::<Uri>()) else { return false };
    // Without the port: pages and hub of one host may have each their own.
    match (own.host(), origin.host()) {
        (Some(own), Some(origin)) => own.eq_ignore_ascii_case(origin) || is_loopback(own) && is_loopback(origin),
        _ => false,
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A pattern in which `*` stands for any text.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|start| name.strip_prefix(start)) else { return false };
    let Some(end) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        // The first place that fits leaves the most for what follows.
        let Some(place) = rest.find(part) else { return false };
        rest = &rest[place + part.len()..];
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn from(host: &'static str, origin: &'static str, allowed: &[&str]) -> bool {
        let headers =
            HeaderMap::from_iter([(header::HOST, host.parse().unwrap()), (header::ORIGIN, origin.parse().unwrap())]);
        let allowed: Vec<String> = allowed.iter().map(|&text| text.to_owned()).collect();
        comes_from_a_known_page(&headers, &allowed)
    }

    #[test]
    fn without_a_list_pages_of_the_same_host_may_connect() {
        assert!(from("chat.example.org", "https://chat.example.org", &[]));
        assert!(from("127.0.0.1:8001", "http://localhost:8000", &[]));
        assert!(from("[::1]:8001", "http://localhost:8000", &[]));
        assert!(!from("chat.example.org", "https://evil.example.org", &[]));
        assert!(!from("chat.example.org", "null", &[]));
        assert!(comes_from_a_known_page(&HeaderMap::new(), &[]), "no browser");
    }

    #[test]
    fn a_list_is_all_that_counts() {
        let allowed = ["https://*.example.org", "http://localhost:3000"];
        assert!(from("hub", "https://chat.example.org", &allowed));
        assert!(from("hub", "HTTP://localhost:3000", &allowed));
        assert!(!from("hub", "https://example.com", &allowed));
        assert!(!from("hub", "http://hub", &allowed));
        assert!(from("hub", "https://anywhere", &["*"]));
    }

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("room:*", "room:7") && matches("*", "x") && matches("a*c", "abbc") && matches("a", "a"));
        assert!(matches("a*b*c", "a-b-b-c") && matches("*7", "room:7") && matches("**", ""));
        assert!(!matches("room:*", "user:7") && !matches("a*c", "ab") && !matches("a", "ab") && !matches("ab*b", "ab"));
    }

    #[test]
    fn so_many_a_second_come_in() {
        let (gate, start) = (Gate::default(), Instant::now());
        let passed = |after: Duration| (0..9).filter(|_| gate.take(3, start + after)).count();
        assert_eq!(passed(Duration::ZERO), 3);
        assert_eq!(passed(Duration::from_mins(1)), 3, "nothing is saved up");
        assert_eq!(passed(Duration::from_secs(61)), 3);
        assert!((0..99).all(|_| gate.take(0, start)));
    }
}
