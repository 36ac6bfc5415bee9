//! A command as a record: where it goes, and what it says.
//!
//! `{"method": "publish", "payload": {…}}`: the outbox row's shape, which is that of Centrifugo's consumers as well.

use std::{borrow::Cow, collections::BTreeMap};

use protocol::{Broadcast, Channel, Command, CommandError, Partition};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A record that has not been written yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub partition: i32,
    pub key: String,
    pub value: String,
}

/// Why a record is no command.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("the record has no value")]
    Empty,
    #[error("the record is not {{\"method\", \"payload\"}}: {0}")]
    Shape(#[from] serde_json::Error),
    #[error(transparent)]
    Command(#[from] CommandError),
}

#[derive(Serialize)]
struct Written<'a, T> {
    method: &'static str,
    payload: &'a T,
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

/// What a command becomes: one record, but a broadcast one for each partition that its channels are in.
pub(super) fn records(command: &Command, partitions: i32) -> Result<Vec<Record>, serde_json::Error> {
    if let Command::Broadcast(broadcast) = command {
        return parts(broadcast, partitions).map(|part| record(&Command::Broadcast(part), partitions)).collect();
    }
    Ok(vec![record(command, partitions)?])
}

/// The command that a record stands for.
pub(super) fn command(value: Option<&[u8]>) -> Result<Command, Unreadable> {
    let value = value.filter(|value| !value.is_empty()).ok_or(Unreadable::Empty)?;
    let Read { method, payload } = serde_json::from_slice(value)?;
    Ok(Command::parse(&method, payload.get())?)
}

/// The partition of a key that is no room's.
pub(super) fn partition_of(key: &str, partitions: i32) -> i32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    i32::try_from(i64::from(hash) % i64::from(partitions.max(1))).unwrap_or(0)
}

fn record(command: &Command, partitions: i32) -> Result<Record, serde_json::Error> {
    let (key, value) = match command {
        Command::Publish(it) => (it.channel.to_string(), written("publish", it)?),
        Command::Broadcast(it) => {
            (it.channels.first().map(Channel::to_string).unwrap_or_default(), written("broadcast", it)?)
        }
        Command::Subscribe(it) => (it.channel.to_string(), written("subscribe", it)?),
        Command::Unsubscribe(it) => (it.channel.to_string(), written("unsubscribe", it)?),
        Command::Disconnect(it) => (of_user(&it.user), written("disconnect", it)?),
        Command::Refresh(it) => (of_user(&it.user), written("refresh", it)?),
        Command::HistoryRemove(it) => (it.channel.to_string(), written("history_remove", it)?),
    };
    Ok(Record { partition: place_of(&key, partitions), key, value })
}

/// Of a room its own partition, so that all that concerns a room stays in order.
fn place_of(key: &str, partitions: i32) -> i32 {
    match Channel::parse(key).ok().and_then(|channel| channel.room_id()) {
        Some(room) => i32::from(Partition::of(room).0) % partitions.max(1),
        None => partition_of(key, partitions),
    }
}

/// One broadcast for each partition that has some of its channels.
fn parts(broadcast: &Broadcast, partitions: i32) -> impl Iterator<Item = Broadcast> {
    let mut parts = BTreeMap::<i32, Vec<Channel>>::new();
    for channel in &broadcast.channels {
        parts.entry(place_of(channel.as_str(), partitions)).or_default().push(channel.clone());
    }
    parts.into_values().map(|channels| Broadcast { channels, ..broadcast.clone() })
}

fn written<T: Serialize>(method: &'static str, payload: &T) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Written { method, payload })
}

/// The same as what is published to the user's own channel.
fn of_user(user: &str) -> String {
    format!("user:{user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(method: &str, payload: &str) -> Command {
        Command::parse(method, payload).unwrap()
    }

    fn written(method: &str, payload: &str) -> Vec<Record> {
        records(&parsed(method, payload), 8).unwrap()
    }

    #[test]
    fn what_concerns_a_room_is_in_the_rooms_partition_and_what_concerns_a_user_in_one_of_its_own() {
        let publish = written("publish", r#"{"channel":"room:21","data":{ "a" : 1.50 },"version":7}"#);
        assert_eq!((publish[0].partition, publish[0].key.as_str()), (5, "room:21"));
        assert_eq!(
            publish[0].value,
            r#"{"method":"publish","payload":{"channel":"room:21","data":{ "a" : 1.50 },"version":7}}"#
        );
        for method in ["subscribe", "unsubscribe"] {
            let record = &written(method, r#"{"user":"3","channel":"room:21"}"#)[0];
            assert_eq!((record.partition, record.key.as_str()), (5, "room:21"));
        }
        let to_user = &written("publish", r#"{"channel":"user:3","data":1}"#)[0];
        for method in ["disconnect", "refresh"] {
            let record = &written(method, r#"{"user":"3"}"#)[0];
            assert_eq!((record.partition, &record.key), (to_user.partition, &to_user.key));
        }
    }

    #[test]
    fn a_broadcast_is_split_by_partition_and_loses_no_channel() {
        let payload = r#"{"channels":["room:1","room:2","room:9","room:17","news"],"data":1,"idempotency_key":"k"}"#;
        let parts = written("broadcast", payload);
        let mut heard: Vec<String> = Vec::new();
        for part in &parts {
            let Ok(Command::Broadcast(part_of)) = command(Some(part.value.as_bytes())) else { panic!("{part:?}") };
            assert_eq!(part_of.idempotency_key.as_deref(), Some("k"));
            assert!(part_of.channels.iter().all(|channel| place_of(channel.as_str(), 8) == part.partition));
            heard.extend(part_of.channels.into_iter().map(String::from));
        }
        heard.sort();
        assert_eq!(heard, ["news", "room:1", "room:17", "room:2", "room:9"]);
        assert!(written("broadcast", r#"{"channels":[],"data":1}"#).is_empty());
    }

    #[test]
    fn what_is_written_is_read_again_and_what_is_none_of_ours_says_why() {
        let record =
            &written("subscribe", r#"{"user":"3","channel":"room:1","recover_since":{"epoch":"e","offset":4}}"#)[0];
        let Ok(Command::Subscribe(subscribe)) = command(Some(record.value.as_bytes())) else { panic!("{record:?}") };
        assert_eq!(subscribe.recover_since.unwrap().offset.0, 4);
        let refused = |value: Option<&str>| command(value.map(str::as_bytes)).map(|_| ()).unwrap_err().to_string();
        assert!(refused(None).contains("no value"));
        assert!(refused(Some("{not JSON")).contains("not {\"method\""));
        assert!(refused(Some(r#"{"method":"shout","payload":{}}"#)).contains("unknown method"));
        assert!(refused(Some(r#"{"method":"publish","payload":{}}"#)).contains("channel"));
    }
}
