//! Finds a Java that is new enough.

use std::{env, path::PathBuf, process::Command};

use crate::Error;

/// The bytecode of Debezium's classes.
pub const OLDEST_JAVA: u32 = 17;

/// A runnable `java`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Java {
    pub(super) program: PathBuf,
    /// As it calls itself; archives of classes belong to exactly one.
    pub(super) version: String,
}

impl Java {
    /// That of `JAVA_HOME`, else the first on the path.
    pub(super) fn find() -> Result<Self, Error> {
        let home = env::var_os("JAVA_HOME").filter(|home| !home.is_empty());
        let program = home.map_or_else(|| PathBuf::from("java"), |home| PathBuf::from(home).join("bin/java"));
        let missing = |found: String| Error::NoJava { oldest: OLDEST_JAVA, found };
        let answer = Command::new(&program)
            .arg("-version")
            .output()
            .map_err(|error| missing(format!("`{}` does not run ({error})", program.display())))?;
        let said = String::from_utf8_lossy(&answer.stderr).into_owned();
        let version =
            version_of(&said).ok_or_else(|| missing(format!("`{}` does not tell its version", program.display())))?;
        if major_of(&version).is_some_and(|major| major >= OLDEST_JAVA) {
            Ok(Self { program, version })
        } else {
            Err(missing(format!("`{}` is version {version}", program.display())))
        }
    }
}

/// `openjdk version "17.0.15" 2025-04-15`, among other lines.
fn version_of(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.contains(" version \""))?;
    line.split('"').nth(1).map(str::to_owned)
}

/// Until 8 it was `1.8.0_392`; previews are `26-ea`.
fn major_of(version: &str) -> Option<u32> {
    let version = version.strip_prefix("1.").unwrap_or(version);
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_every_kind_of_answer() {
        let said = "Picked up JAVA_TOOL_OPTIONS: -Dx\nopenjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime";
        assert_eq!(version_of(said).as_deref(), Some("17.0.15"));
        assert_eq!(version_of("command not found"), None);
        assert_eq!(["17.0.15", "1.8.0_392", "26-ea", "25"].map(major_of), [Some(17), Some(8), Some(26), Some(25)]);
    }
}
