//! Progress goes to standard error, the result to standard output, so that a pipe gets the tables alone.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this module is the one that prints")]

use std::fmt::Display;

/// A step that begins.
pub fn progress(step: impl Display) {
    eprintln!("… {step}");
}

/// The result.
pub fn result(text: impl Display) {
    println!("{text}");
}

/// Why it ends, with the whole chain of causes.
pub fn error(error: &anyhow::Error) {
    eprintln!("bench: {error:#}");
}
