//! What a person should see to although everything works: shown in `/readyz`, and said once in the log.

use std::collections::BTreeMap;

use serde::Serialize;
use tracing::{info, warn};

/// Something to see to. It makes nobody unready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// What it is about, in a word, such as the name of a slot. As long as this stays, it is the same notice, whatever
    /// figures its text has.
    pub about: String,
    /// What is the matter.
    pub notice: String,
    /// What to do about it.
    pub remedy: String,
}

/// What is to be seen to at present, by who looks.
#[derive(Default)]
pub(super) struct Notices(BTreeMap<&'static str, Vec<Notice>>);

impl Notices {
    /// Replaces what `looker` said before. What begins and what is over is said in the log.
    pub(super) fn replace(&mut self, looker: &'static str, now: Vec<Notice>) {
        let before = self.0.insert(looker, now).unwrap_or_default();
        let now = &self.0[looker];
        for Notice { about, notice, remedy } in now.iter().filter(|notice| !notice.is_among(&before)) {
            warn!(about, "{notice}: {remedy}");
        }
        for Notice { about, .. } in before.iter().filter(|notice| !notice.is_among(now)) {
            info!(about, "{about} needs nobody's care any more");
        }
    }

    pub(super) fn all(&self) -> Vec<Notice> {
        self.0.values().flatten().cloned().collect()
    }
}

impl Notice {
    fn is_among(&self, others: &[Self]) -> bool {
        others.iter().any(|other| other.about == self.about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(about: &str, notice: &str) -> Notice {
        Notice { about: about.to_owned(), notice: notice.to_owned(), remedy: "wait".to_owned() }
    }

    #[test]
    fn each_looker_replaces_its_own() {
        let mut notices = Notices::default();
        notices.replace("slots", vec![notice("a", "1 MB"), notice("b", "2 MB")]);
        notices.replace("snapshots", vec![notice("c", "1 s")]);
        notices.replace("slots", vec![notice("a", "3 MB")]);
        assert_eq!(notices.all(), [notice("a", "3 MB"), notice("c", "1 s")]);
        assert!(notice("a", "3 MB").is_among(&[notice("a", "1 MB")]), "which is no news for the log");
    }
}
