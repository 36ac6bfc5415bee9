//! The picture of a person, drawn from id and name. The client draws the same (`client/src/avatar.ts`).

use protocol::UserId;

/// What the avatar's drawing needs.
pub(crate) struct Face {
    pub(crate) hue: i64,
    pub(crate) turn: i64,
    pub(crate) initials: String,
}

impl Face {
    pub(crate) fn new(id: UserId, name: &str) -> Self {
        // Golden-angle steps: neighbours in id are far apart in colour. In thousandths of a degree, to stay whole.
        let hue = (id.0.rem_euclid(360_000) * 137_508 % 360_000 + 500) / 1000;
        Self { hue, turn: id.0.rem_euclid(8) * 45, initials: initials(name) }
    }
}

/// "Ada Lovelace" → "AL", "bob" → "B".
fn initials(name: &str) -> String {
    let mut words = name.split_whitespace();
    let letters = words.next().into_iter().chain(words.next_back()).filter_map(|word| word.chars().next());
    let initials: String = letters.flat_map(char::to_uppercase).collect();
    if initials.is_empty() { "?".to_owned() } else { initials }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_face_is_the_same_as_in_the_browser() {
        // The same cases as client/test/words.test.ts.
        let cases = [("Ada Lovelace", "AL"), ("bob", "B"), ("  ", "?"), ("Élodie du Pont", "ÉP"), ("李 雷", "李雷")];
        for (name, expected) in cases {
            assert_eq!(initials(name), expected);
        }
        assert_eq!(Face::new(UserId(1), "a").hue, 138);
    }
}
