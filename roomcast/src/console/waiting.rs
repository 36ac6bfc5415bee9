//! What a person at the terminal sees while something is fetched or started.

use std::time::Duration;

use embedded_postgres::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use super::say;

/// Moves while a step takes long; where there is no terminal, each step is a line of its own.
#[derive(Debug)]
pub struct Waiting(ProgressBar);

impl Waiting {
    /// Begins to wait, with nothing said yet.
    pub fn begin() -> Self {
        let spinner = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            spinner.set_style(style);
        }
        spinner.enable_steady_tick(Duration::from_millis(120));
        Self(spinner)
    }

    /// Where the steps are told.
    pub fn progress(&self) -> Progress {
        let spinner = self.0.clone();
        Progress::new(move |step| show(&spinner, &step.to_string()))
    }

    /// Says what is going on now.
    pub fn say(&self, step: &str) {
        show(&self.0, step);
    }

    /// Prints something without the moving line in its way.
    pub fn pause(&self, print: impl FnOnce()) {
        self.0.suspend(print);
    }

    /// Clears the line.
    pub fn end(self) {
        self.0.finish_and_clear();
    }
}

fn show(spinner: &ProgressBar, step: &str) {
    if spinner.is_hidden() {
        say(format_args!("… {step}"));
    } else {
        spinner.set_message(step.to_owned());
    }
}
