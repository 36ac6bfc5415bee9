//! What a client is told about a subscription of its own.

use std::sync::Arc;

use bytes::Bytes;
use protocol::Position;

use super::Object;
use crate::token::time_left;

/// What a client is told about a subscription: the body of a subscribe reply, of a `subscribe` push and of a
/// connect reply's `subs`.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the protocol has them so")]
pub(crate) struct Subscribed {
    pub(crate) recoverable: bool,
    pub(crate) positioned: bool,
    /// Where the client stands from now on.
    pub(crate) position: Position,
    pub(crate) was_recovering: bool,
    pub(crate) recovered: bool,
    pub(crate) publications: Vec<Bytes>,
    /// Seconds since 1970 after which the client has to refresh the subscription.
    pub(crate) expires: Option<u64>,
    /// JSON for the client.
    pub(crate) data: Option<Arc<str>>,
    /// The channel's number in pushes.
    pub(crate) number: Option<u32>,
}

impl Subscribed {
    /// The JSON object.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let room = self.publications.iter().map(|publication| publication.len() + 1).sum::<usize>();
        let mut json = Object::with_capacity(room + 160);
        write_expiry(&mut json, self.expires);
        if self.recoverable {
            json.field("recoverable", &true);
        }
        if self.positioned {
            json.field("epoch", &self.position.epoch);
        }
        if !self.publications.is_empty() {
            json.list("publications", &self.publications);
        }
        if self.recovered {
            json.field("recovered", &true);
        }
        if self.positioned && !self.position.offset.is_zero() {
            json.field("offset", &self.position.offset);
        }
        if self.positioned {
            json.field("positioned", &true);
        }
        if let Some(data) = &self.data {
            json.raw_field("data", data.as_bytes());
        }
        if self.was_recovering {
            json.field("was_recovering", &true);
        }
        if let Some(number) = self.number {
            json.field("id", &number);
        }
        json.finish()
    }
}

/// `expires` and `ttl`, in whole seconds, of what ends.
pub(crate) fn write_expiry(body: &mut Object, expires: Option<u64>) {
    if let Some(at) = expires {
        body.field("expires", &true);
        body.field("ttl", &time_left(at).as_secs().max(1));
    }
}

#[cfg(test)]
mod tests {
    use protocol::Offset;

    use super::*;

    #[test]
    fn a_recovered_client_is_told_its_own_offset_and_what_it_missed() {
        let subscribed = Subscribed {
            recoverable: true,
            positioned: true,
            position: Position { epoch: "e".into(), offset: Offset(4) },
            was_recovering: true,
            recovered: true,
            publications: vec![Bytes::from_static(br#"{"data":1,"offset":5}"#)],
            ..Subscribed::default()
        };
        let json = String::from_utf8(subscribed.encode()).unwrap();
        assert_eq!(
            json,
            r#"{"recoverable":true,"epoch":"e","publications":[{"data":1,"offset":5}],"recovered":true,"offset":4,"positioned":true,"was_recovering":true}"#
        );
    }
}
