//! What a person at the terminal reads: the address, progress, and errors with what to do next.
//!
//! The log goes to standard error; standard output carries only these lines and the answers of commands.

mod waiting;

use std::{
    fmt::Display,
    io::{self, Write},
};

pub use waiting::Waiting;

/// Says something on standard output. That nobody reads on, as behind `| head`, is no failure.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// `1.5 MB`
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(count: i64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let fitting = units.into_iter().find(|(size, _)| count as f64 >= *size);
    fitting.map_or_else(|| format!("{count} B"), |(size, unit)| format!("{:.1} {unit}", count as f64 / size))
}

/// Says why the program ends, with the whole chain of causes.
pub fn error(error: &anyhow::Error) {
    eprintln!("roomcast: {error:#}");
}
