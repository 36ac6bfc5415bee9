//! What is measured: a mode, and for modes that need Debezium a profile of its settings.

use std::fmt;

use debezium::Profile;
use protocol::Mode;

/// A mode with all that it needs, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) mode: Mode,
    /// None where there is no Debezium.
    pub(super) profile: Option<Profile>,
}

/// Cases that are measured on the same running product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// PostgreSQL alone.
    Plain,
    /// The relay reads the log.
    Log,
    /// Debezium does, with these settings.
    Kafka(Profile),
}

impl Group {
    pub(super) fn all(profiles: &[Profile]) -> Vec<Self> {
        [Self::Plain, Self::Log].into_iter().chain(profiles.iter().copied().map(Self::Kafka)).collect()
    }

    pub(super) fn cases(self) -> impl Iterator<Item = Case> {
        let (modes, profile): (&[Mode], _) = match self {
            Self::Plain => (&[Mode::Api, Mode::Outbox], None),
            Self::Log => (&[Mode::Wal], None),
            Self::Kafka(profile) => (&[Mode::Cdc, Mode::ApiCdc, Mode::Message], Some(profile)),
        };
        modes.iter().map(move |&mode| Case { mode, profile })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.profile {
            None => write!(f, "{}", self.mode),
            Some(profile) => write!(f, "{}, {profile}", self.mode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_measured_and_those_of_debezium_with_each_profile() {
        let groups = Group::all(&[Profile::Tuned, Profile::Seed]);
        let cases: Vec<Case> = groups.into_iter().flat_map(Group::cases).collect();
        for mode in Mode::ALL {
            let profiles: Vec<_> = cases.iter().filter(|case| case.mode == mode).map(|case| case.profile).collect();
            let expected = match mode {
                Mode::Api | Mode::Outbox | Mode::Wal => vec![None],
                Mode::Cdc | Mode::ApiCdc | Mode::Message => vec![Some(Profile::Tuned), Some(Profile::Seed)],
            };
            assert_eq!(profiles, expected, "{mode}");
        }
    }
}
