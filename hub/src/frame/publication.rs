//! What goes to everybody in a channel: publications, and who comes and goes. Encoded once; every subscriber and the
//! history share the bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use protocol::{Channel, Offset};
use serde_json::value::RawValue;

use super::{FrameWriter, Object, push};

/// One publication, ready to be sent and to be kept.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) offset: Offset,
    /// The whole frame of its push.
    pub(crate) frame: Bytes,
    /// `{"data":…,"offset":…}`: the part of `frame` that a reply to a returning client repeats.
    pub(crate) body: Bytes,
}

impl Publication {
    /// Encodes what was published to `channel`; offset 0 stands for a publication that nobody counts.
    pub(crate) fn encode(channel: &Channel, offset: Offset, said: &Said) -> Self {
        let Said { data, tags, publisher } = said;
        let mut frame = FrameWriter::with_capacity(data.get().len() + channel.as_str().len() + 64);
        frame.raw(b"{\"push\":{\"channel\":");
        frame.json(channel.as_str());
        frame.raw(b",\"pub\":");
        let start = frame.len();
        frame.raw(b"{\"data\":");
        frame.data(data);
        if !offset.is_zero() {
            frame.number(b",\"offset\":", offset.0);
        }
        if let Some(publisher) = publisher {
            frame.raw(b",\"info\":");
            frame.raw(publisher);
        }
        if !tags.is_empty() {
            frame.raw(b",\"tags\":");
            frame.json(tags);
        }
        frame.raw(b"}");
        let end = frame.len();
        frame.raw(b"}}");
        let (frame, payload) = frame.finish();
        let body = frame.slice(payload + start..payload + end);
        Self { offset, frame, body }
    }
}

/// What somebody published.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) data: Box<RawValue>,
    pub(crate) tags: BTreeMap<String, String>,
    /// The client that said it, as others see it; `None` for a server.
    pub(crate) publisher: Option<Bytes>,
}

impl From<Box<RawValue>> for Said {
    fn from(data: Box<RawValue>) -> Self {
        Self { data, tags: BTreeMap::new(), publisher: None }
    }
}

/// What everybody in a channel is told at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Publication,
    Join,
    Leave,
}

/// A push to a channel, framed for those who know the channel by its name.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    pub(crate) kind: Kind,
    pub(crate) named: Bytes,
    body: Bytes,
}

impl Push {
    /// Somebody, as others see them, has come to `channel` or left it.
    pub(crate) fn presence(channel: &Channel, kind: Kind, who: &[u8]) -> Self {
        let mut body = Object::with_capacity(who.len() + 16);
        body.raw_field("info", who);
        let body = Bytes::from(body.finish());
        Self { kind, named: push(channel, kind.name(), &body), body }
    }

    /// The same for those who know the channel by its number.
    pub(crate) fn numbered(&self, number: u32) -> Bytes {
        let mut frame = FrameWriter::with_capacity(self.body.len() + 48);
        frame.number(b"{\"push\":{\"id\":", u64::from(number));
        frame.raw(b",\"");
        frame.raw(self.kind.name().as_bytes());
        frame.raw(b"\":");
        frame.raw(&self.body);
        frame.raw(b"}}");
        frame.finish().0
    }
}

impl From<Publication> for Push {
    fn from(publication: Publication) -> Self {
        Self { kind: Kind::Publication, named: publication.frame, body: publication.body }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Publication => "pub",
            Self::Join => "join",
            Self::Leave => "leave",
        }
    }
}

/// A client as others see it: user, name of the connection, and what the tokens say about both.
pub(crate) fn client_info(user: &str, client: &str, connection: Option<&str>, channel: Option<&str>) -> Bytes {
    let mut info = Object::with_capacity(128);
    info.field("user", user);
    info.field("client", client);
    if let Some(json) = connection {
        info.raw_field("conn_info", json.as_bytes());
    }
    if let Some(json) = channel {
        info.raw_field("chan_info", json.as_bytes());
    }
    info.finish().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_the_number_of_a_channel_is_not_told_its_name() {
        let publication = Push::from(publication());
        assert_eq!(&publication.numbered(42)[2..], br#"{"push":{"id":42,"pub":{"data":1,"offset":5}}}"#.as_slice());
        let who = client_info("7", "c", Some("{}"), None);
        let join = Push::presence(&Channel::parse("a").unwrap(), Kind::Join, &who);
        let told = br#"{"push":{"channel":"a","join":{"info":{"user":"7","client":"c","conn_info":{}}}}}"#;
        assert_eq!(&join.named[2..], told.as_slice());
    }

    fn publication() -> Publication {
        let data = RawValue::from_string("1".to_owned()).unwrap();
        Publication::encode(&Channel::parse("room:7").unwrap(), Offset(5), &data.into())
    }
}
