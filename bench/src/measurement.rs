//! What all suites are told alike: which executable to measure, and where the report goes.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::{console, product::product_or_build};

/// Options of every suite.
#[derive(Args, Clone, Debug)]
pub struct Measurement {
    /// An executable to measure [default: built now, in release mode]
    #[arg(long)]
    roomcast: Option<PathBuf>,
    /// Write the report to this file as well
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Measurement {
    /// The executable that was named, else one that is built now.
    pub async fn executable(&self) -> anyhow::Result<PathBuf> {
        product_or_build(self.roomcast.as_deref()).await
    }

    /// Writes the report to the file, if one was named, and prints it.
    pub fn report(&self, report: &str) -> anyhow::Result<()> {
        if let Some(file) = &self.output {
            std::fs::write(file, report).with_context(|| format!("writing {}", file.display()))?;
        }
        console::result(report);
        Ok(())
    }
}
