//! What a message may say: 1 to 4000 characters after blank lines before it and white space behind it are taken away.

/// A text that PostgreSQL will take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText(String);

/// Why a text is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing, or white space only.
    #[error("must not be empty")]
    Empty,
    /// This many characters.
    #[error("has {0} characters, at most {max} are allowed", max = MessageText::MAX_CHARS)]
    TooLong(usize),
    /// PostgreSQL has no way to keep U+0000.
    #[error("must not contain U+0000")]
    Nul,
}

impl MessageText {
    /// The longest text, in characters as PostgreSQL counts them.
    pub const MAX_CHARS: usize = 4000;

    /// Trims and checks. Line breaks stay, as `\n`; so does the indentation of the first line.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.contains('\0') {
            return Err(TextError::Nul);
        }
        let text = text.replace("\r\n", "\n");
        let end = text.trim_end().len();
        let text = &text[..end];
        let indent = text.len() - text.trim_start().len();
        let start = text[..indent].rfind('\n').map_or(0, |newline| newline + 1);
        let text = &text[start..];
        match text.chars().count() {
            0 => Err(TextError::Empty),
            chars if chars > Self::MAX_CHARS => Err(TextError::TooLong(chars)),
            _ => Ok(Self(text.to_owned())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    pub fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_and_indentation_stay() {
        let text = MessageText::parse(" \r\n\n  if x:\r\n    y \n\t ").unwrap();
        assert_eq!(text.as_str(), "  if x:\n    y");
        assert_eq!(MessageText::parse("hi").unwrap().as_str(), "hi");
    }

    #[test]
    fn what_postgresql_would_refuse_is_refused_before_it_is_queued() {
        assert_eq!(MessageText::parse(" \n\t\r\n"), Err(TextError::Empty));
        assert_eq!(MessageText::parse("a\0b"), Err(TextError::Nul));
        assert_eq!(MessageText::parse(&"é".repeat(4001)), Err(TextError::TooLong(4001)));
        assert!(MessageText::parse(&"😀".repeat(4000)).is_ok());
    }
}
