//! Many calls in one: carried out in order, commands that follow each other with one pass through the shards' queues.

use std::collections::HashMap;

use bytes::Bytes;
use protocol::Command;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Answer, METHODS, Method, NotJson, encode, envelope, parse, queries, responses};
use crate::{
    codes::ErrorCode,
    dispatch::each_channel,
    frame::Object,
    hub::{Hub, Rejection},
};

/// `parallel` is heard and needs nothing: what a shard has to do never waits for another shard.
#[derive(Deserialize)]
struct Batch {
    commands: Vec<HashMap<String, Box<RawValue>>>,
}

/// What one entry of a batch has become.
enum Step {
    /// It is the next of the commands.
    One(String),
    /// It is the next so many of the commands.
    Broadcast(usize),
    Query(String, Box<RawValue>),
    Refused(Rejection),
}

pub(super) async fn answer(hub: &Hub, body: &[u8]) -> Result<Answer, NotJson> {
    let batch: Batch = match serde_json::from_slice(body) {
        Ok(batch) => batch,
        Err(error) if error.is_data() => return Ok(Err(ErrorCode::BAD_REQUEST.into())),
        Err(_) => return Err(NotJson),
    };
    let mut replies = Vec::with_capacity(batch.commands.len());
    let (mut steps, mut commands) = (Vec::with_capacity(batch.commands.len()), Vec::new());
    for entry in batch.commands {
        match step(entry, &mut commands)? {
            // What comes before a question is done before it is answered.
            Step::Query(method, body) => {
                carry_out(hub, std::mem::take(&mut steps), std::mem::take(&mut commands), &mut replies).await;
                replies.push(reply(&method, queries::answer(hub, &method, body.get().as_bytes()).await?));
            }
            step => steps.push(step),
        }
    }
    carry_out(hub, steps, commands, &mut replies).await;
    let mut body = Object::with_capacity(replies.iter().map(|reply| reply.len() + 1).sum::<usize>() + 16);
    body.list("replies", &replies);
    Ok(Ok(body.finish()))
}

async fn carry_out(hub: &Hub, steps: Vec<Step>, commands: Vec<Command>, replies: &mut Vec<Bytes>) {
    let mut outcomes = hub.command(commands).await.into_iter();
    for step in steps {
        replies.push(match step {
            Step::Refused(rejection) => reply("error", Err(rejection)),
            Step::One(method) => {
                let outcome = outcomes.next().unwrap_or_else(|| Err(ErrorCode::INTERNAL.into()));
                reply(&method, outcome.map(|accepted| encode(&accepted)))
            }
            Step::Broadcast(count) => reply("broadcast", Ok(responses(outcomes.by_ref().take(count)))),
            Step::Query(..) => continue,
        });
    }
}

fn reply(method: &str, answer: Answer) -> Bytes {
    match answer {
        Ok(result) => envelope(method, &result).into(),
        Err(rejection) => envelope("error", &encode(&rejection)).into(),
    }
}

fn step(entry: HashMap<String, Box<RawValue>>, commands: &mut Vec<Command>) -> Result<Step, NotJson> {
    let mut entry = entry.into_iter();
    let (Some((method, payload)), None) = (entry.next(), entry.next()) else {
        return Ok(Step::Refused(ErrorCode::BAD_REQUEST.into()));
    };
    if METHODS.contains(&(&*method, Method::Query)) {
        return Ok(Step::Query(method, payload));
    }
    Ok(match parse(&method, payload.get().as_bytes())? {
        Err(rejection) => Step::Refused(rejection),
        Ok(Command::Broadcast(broadcast)) => {
            let before = commands.len();
            commands.extend(each_channel(broadcast).map(Command::Publish));
            Step::Broadcast(commands.len() - before)
        }
        Ok(command) => {
            commands.push(command);
            Step::One(method)
        }
    })
}
