//! The changes in the output of PostgreSQL's plugin pgoutput, as far as they are ours: what a relation's columns are
//! called, and the rows inserted into it.
//!
//! Columns are found by name: a column that is added, or another order of them, changes nothing here.

use std::collections::HashMap;

/// The relations of one replication session. The server describes each before its first row, and again after a change.
#[derive(Default)]
pub(super) struct Relations {
    known: HashMap<u32, Relation>,
}

struct Relation {
    name: String,
    columns: Vec<String>,
}

/// An inserted row.
#[derive(Debug, PartialEq)]
pub(super) struct Insert<'a> {
    pub relation: &'a str,
    values: Vec<(&'a str, &'a str)>,
}

impl<'a> Insert<'a> {
    /// The column's value as text; none for a null and for a column that is not there.
    pub(super) fn get(&self, column: &str) -> Option<&'a str> {
        self.values.iter().find(|(name, _)| *name == column).map(|(_, value)| *value)
    }
}

/// The bytes are not what the protocol says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("the message ends in the middle of {0}")]
    Short(&'static str),
    /// A text that is none.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// A row of a relation that was never described.
    #[error("relation {0} was never described")]
    Relation(u32),
    /// A kind of value that this reader did not ask for.
    #[error("a value of unknown kind {0:?}")]
    Value(char),
}

impl Relations {
    /// Reads one change. Gives the row if it is an insertion; remembers a description; passes over everything else.
    pub(super) fn read<'a>(&'a mut self, message: &'a [u8]) -> Result<Option<Insert<'a>>, Malformed> {
        let mut bytes = Bytes(message);
        match bytes.u8("the message")? {
            b'R' => {
                let id = bytes.u32("a relation")?;
                self.known.insert(id, Relation::read(&mut bytes)?);
                Ok(None)
            }
            b'I' => {
                let id = bytes.u32("an insertion")?;
                let relation = self.known.get(&id).ok_or(Malformed::Relation(id))?;
                bytes.u8("an insertion")?; // 'N': only new rows can be inserted
                relation.row(&mut bytes).map(Some)
            }
            _ => Ok(None),
        }
    }
}

impl Relation {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, Malformed> {
        const PART: &str = "a relation";
        bytes.name(PART)?; // its schema
        let name = bytes.name(PART)?.to_owned();
        bytes.u8(PART)?; // its replica identity
        let mut columns = Vec::new();
        for _ in 0..bytes.u16(PART)? {
            bytes.u8(PART)?; // whether it is part of the key
            columns.push(bytes.name(PART)?.to_owned());
            bytes.take(8, PART)?; // its type
        }
        Ok(Self { name, columns })
    }

    fn row<'a>(&'a self, bytes: &mut Bytes<'a>) -> Result<Insert<'a>, Malformed> {
        const PART: &str = "a row";
        let mut values = Vec::with_capacity(self.columns.len());
        let count = usize::from(bytes.u16(PART)?);
        for column in self.columns.iter().take(count) {
            match bytes.u8(PART)? {
                b't' => {
                    let length = usize::try_from(bytes.u32(PART)?).map_err(|_| Malformed::Short(PART))?;
                    let value = str::from_utf8(bytes.take(length, PART)?).map_err(|_| Malformed::NotUtf8(PART))?;
                    values.push((column.as_str(), value));
                }
                b'n' | b'u' => {}
                kind => return Err(Malformed::Value(char::from(kind))),
            }
        }
        Ok(Insert { relation: &self.name, values })
    }
}

/// What is left of a message.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize, part: &'static str) -> Result<&'a [u8], Malformed> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(Malformed::Short(part))?;
        self.0 = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], Malformed> {
        self.take(N, part)?.try_into().map_err(|_| Malformed::Short(part))
    }

    fn u8(&mut self, part: &'static str) -> Result<u8, Malformed> {
        Ok(u8::from_be_bytes(self.array(part)?))
    }

    fn u16(&mut self, part: &'static str) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array(part)?))
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array(part)?))
    }

    /// A name that ends with a NUL.
    fn name(&mut self, part: &'static str) -> Result<&'a str, Malformed> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Malformed::Short(part))?;
        let name = self.take(end, part)?;
        self.take(1, part)?;
        str::from_utf8(name).map_err(|_| Malformed::NotUtf8(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(id: u32, columns: &[&str]) -> Vec<u8> {
        let mut bytes = vec![b'R'];
        bytes.extend(id.to_be_bytes());
        bytes.extend(b"public\0chat_cdc\0d");
        bytes.extend(u16::try_from(columns.len()).unwrap().to_be_bytes());
        for column in columns {
            bytes.push(0);
            bytes.extend(column.as_bytes());
            bytes.extend([0; 9]); // the end of the name, the type
        }
        bytes
    }

    fn insert(id: u32, values: &[Option<&str>]) -> Vec<u8> {
        let mut bytes = vec![b'I'];
        bytes.extend(id.to_be_bytes());
        bytes.push(b'N');
        bytes.extend(u16::try_from(values.len()).unwrap().to_be_bytes());
        for value in values {
            let Some(value) = value else {
                bytes.push(b'n');
                continue;
            };
            bytes.push(b't');
            bytes.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
            bytes.extend(value.as_bytes());
        }
        bytes
    }

    #[test]
    fn columns_are_found_by_name_also_after_the_table_changed() {
        let mut relations = Relations::default();
        assert_eq!(relations.read(&relation(1, &["id", "mode"])), Ok(None));
        let bytes = insert(1, &[Some("7"), Some("wal")]);
        let row = relations.read(&bytes).unwrap().unwrap();
        assert_eq!((row.relation, row.get("id"), row.get("mode")), ("chat_cdc", Some("7"), Some("wal")));

        assert_eq!(relations.read(&relation(1, &["mode", "new", "id"])), Ok(None));
        let bytes = insert(1, &[Some("wal"), None, Some("8")]);
        let row = relations.read(&bytes).unwrap().unwrap();
        assert_eq!((row.get("id"), row.get("new"), row.get("gone")), (Some("8"), None, None));
    }

    #[test]
    fn everything_else_is_passed_over_and_broken_bytes_are_refused() {
        let mut relations = Relations::default();
        for other in [b"Y".as_slice(), b"O\0", b"T", b"U", b"D"] {
            assert_eq!(relations.read(other), Ok(None));
        }
        assert_eq!(relations.read(&insert(3, &[])), Err(Malformed::Relation(3)));
        assert_eq!(relations.read(&[]), Err(Malformed::Short("the message")));
        let whole = relation(1, &["id"]);
        relations.read(&whole).unwrap();
        for end in 1..whole.len() {
            assert_eq!(Relations::default().read(&whole[..end]), Err(Malformed::Short("a relation")), "{end}");
        }
        let row = insert(1, &[Some("7")]);
        for end in 6..row.len() {
            assert!(relations.read(&row[..end]).is_err(), "{end}");
        }
    }
}
