//! JSON written piece by piece, with pieces that are JSON already.

use bytes::Bytes;
use serde::Serialize;

/// Writes a JSON object field by field.
pub(crate) struct Object(Vec<u8>);

impl Object {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut object = Vec::with_capacity(bytes);
        object.push(b'{');
        Self(object)
    }

    pub(crate) fn field(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        self.name(name);
        write_json(&mut self.0, value);
    }

    pub(crate) fn raw_field(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.0.extend_from_slice(json);
    }

    pub(crate) fn list(&mut self, name: &str, items: &[Bytes]) {
        self.name(name);
        self.0.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.0.push(b',');
            }
            self.0.extend_from_slice(item);
        }
        self.0.push(b']');
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        write_json(&mut self.0, name);
        self.0.push(b':');
    }
}

/// Strings, numbers and maps of strings always have a JSON form, and a `Vec` takes every write.
pub(super) fn write_json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "{written:?}");
}
