//! Parses what people type into forms, and collects what is wrong with each field.

use std::fmt::Display;

use crate::{ApiError, FieldError};

const PAGE: u32 = 50;
const LARGEST_PAGE: u32 = 100;

/// How many rows a page has: 50 unless told, at most 100.
pub(super) fn page_size(limit: Option<u32>) -> u32 {
    limit.unwrap_or(PAGE).clamp(1, LARGEST_PAGE)
}

/// A cursor from the address.
pub(super) fn cursor<T: std::str::FromStr<Err: Display>>(text: Option<&str>) -> Result<Option<T>, ApiError> {
    let parsed = text.filter(|text| !text.is_empty()).map(str::parse).transpose();
    parsed.map_err(|error| ApiError::Query(format!("cursor: {error}")))
}

/// Fields that are wrong, all of them, so that nobody has to mend one at a time.
#[derive(Default)]
pub(super) struct Invalid(Vec<FieldError>);

impl Invalid {
    /// The value of a field, or its place among the wrong ones.
    pub(super) fn take<T, E: Display>(&mut self, field: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.0.push(FieldError { field: field.to_owned(), message: error.to_string() })).ok()
    }

    /// The problem that lists them.
    pub(super) fn into_error(self) -> ApiError {
        ApiError::Invalid(self.0)
    }
}

/// A name to sign in with: upper case is taken as lower.
pub(super) fn username(text: &str) -> Result<String, &'static str> {
    let name = text.trim().to_ascii_lowercase();
    let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (2..=32).contains(&name.len()) && name.bytes().all(valid) {
        Ok(name)
    } else {
        Err("must have 2 to 32 characters of a-z, 0-9 and _")
    }
}

/// A password to be. The upper bound keeps the hash from being fed for free.
pub(super) fn new_password(text: String) -> Result<String, &'static str> {
    if (8..=200).contains(&text.chars().count()) { Ok(text) } else { Err("must have 8 to 200 characters") }
}

/// A name to be shown: white space at its ends does not count, and it is one line.
pub(super) fn shown_name(text: &str, max: usize) -> Result<String, String> {
    let name = text.trim();
    if name.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    match name.chars().count() {
        1.. if name.chars().count() <= max => Ok(name.to_owned()),
        _ => Err(format!("must have 1 to {max} characters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_tidy_or_refused() {
        assert_eq!(username(" Alice_1 "), Ok("alice_1".to_owned()));
        assert!(username("a").is_err());
        assert!(username("älice").is_err());
        assert_eq!(shown_name("  Ada  ", 64), Ok("Ada".to_owned()));
        assert!(shown_name("a\nb", 64).is_err());
        assert!(shown_name("a\0b", 64).is_err());
        assert!(shown_name("   ", 64).is_err());
        assert!(shown_name(&"é".repeat(65), 64).is_err());
    }
}
