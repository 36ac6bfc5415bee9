//! What becomes of each line of a configuration of Centrifugo here: the answer to "can we move in?".

use std::{fmt, path::Path};

use serde_json::Value;

use super::{
    ConfigFile, HubConfig,
    centrifugo::{self, Here},
    document,
    file::Trouble,
};
use crate::HubError;

/// One place of a configuration file, and what it means to this hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Such as `client.token.hmac_secret_key` or `channel.namespaces[0].history_ttl`.
    pub place: String,
    /// What becomes of it.
    pub verdict: Verdict,
}

/// What becomes of a line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works here as it does there.
    Understood,
    /// Nobody will miss it, for this reason.
    Harmless(String),
    /// It is not here; this is what that means.
    Missing(String),
    /// It is here, but not with this value.
    Wrong(String),
}

/// Everything that is found in a file.
#[derive(Debug)]
pub struct Findings {
    /// All places, by their names; a section that is unknown as a whole is one place.
    pub all: Vec<Finding>,
    /// What is understood, to go on with.
    pub file: ConfigFile,
}

impl ConfigFile {
    /// Reads a file as [`ConfigFile::read`] does, and says what becomes of all that is in it. Fails if it cannot be read
    /// at all.
    pub fn check(path: &Path) -> Result<Findings, HubError> {
        let document = document::read(path).map_err(|why| HubError::Config(format!("{}: {why}", path.display())))?;
        let (file, mut troubles) = Self::examine(document.clone());
        let mut all = Vec::new();
        visit(&document, "", &mut troubles, &mut all);
        // What is left is about something that is not there, or about several places together.
        all.extend(
            troubles
                .into_iter()
                .filter_map(|trouble| Some(Finding { place: trouble.place, verdict: Verdict::Wrong(trouble.why?) })),
        );
        Ok(Findings { all, file })
    }
}

impl HubConfig {
    /// What could never work, with its place in the words of the file.
    pub fn findings(&self) -> Vec<Finding> {
        let wrong = |problem: super::Problem| Finding { place: problem.place, verdict: Verdict::Wrong(problem.why) };
        self.problems().into_iter().map(wrong).collect()
    }
}

impl Verdict {
    /// A hub starts with this in its file.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Understood)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Verdict::Understood => f.write_str(&self.place),
            Verdict::Harmless(why) | Verdict::Missing(why) | Verdict::Wrong(why) => write!(f, "{}: {why}", self.place),
        }
    }
}

/// Notes every place below this one.
fn visit(value: &Value, place: &str, troubles: &mut Vec<Trouble>, all: &mut Vec<Finding>) {
    let own: Vec<Trouble> = troubles.extract_if(.., |trouble| trouble.place == place).collect();
    if !own.is_empty() {
        all.extend(
            own.into_iter().map(|trouble| Finding { place: place.to_owned(), verdict: verdict(trouble, value) }),
        );
        // A namespace without a name has options all the same, and so have two of one name.
        if !troubles.iter().any(|trouble| is_below(&trouble.place, place)) {
            return;
        }
    }
    let below = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                visit(value, &below(key), troubles, all);
            }
        }
        Value::Array(elements) if elements.iter().any(Value::is_object) => {
            for (number, value) in elements.iter().enumerate() {
                visit(value, &format!("{place}[{number}]"), troubles, all);
            }
        }
        _ if place.is_empty() => {}
        _ => all.push(Finding { place: place.to_owned(), verdict: Verdict::Understood }),
    }
}

fn is_below(place: &str, above: &str) -> bool {
    place.strip_prefix(above).is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn verdict(trouble: Trouble, value: &Value) -> Verdict {
    match trouble.why {
        Some(why) => Verdict::Wrong(why),
        None => match centrifugo::option(&trouble.place, value) {
            Here::Harmless(why) => Verdict::Harmless(why.to_owned()),
            Here::Missing(why) => Verdict::Missing(why.to_owned()),
        },
    }
}
