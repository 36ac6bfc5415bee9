//! What a person at the terminal reads: the address, progress, and errors with what to do next.
//!
//! The log goes to standard error; standard output carries only these lines and the answers of commands.
#![expect(clippy::print_stdout, reason = "this module is the one that prints")]

mod waiting;

use std::fmt::Display;

pub use waiting::Waiting;

/// Says something on standard output.
pub fn say(line: impl Display) {
    println!("{line}");
}

/// Says why the program ends, with the whole chain of causes.
pub fn error(error: &anyhow::Error) {
    eprintln!("roomcast: {error:#}");
}
