//! Questions that every node has to answer: who is in a channel, and which channels there are.
//!
//! An answer is whole or an error: a node that is there and says nothing in time makes it error 100, and asking again
//! helps once that node answers or is known to be gone. A node hears the question in order with what was said in the
//! channel, so it sees everything that was done there before by the one who asks.
//!
//! Thousands may want to know the same at once, as after a restart. While a question is under way, those who come wait
//! for the next one, and are answered together: each by a question that was put after it came.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    mem,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use protocol::Channel;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::timeout};
use tracing::debug;
use uuid::Uuid;

use super::{
    Nodes,
    message::{Message, Question, split},
    metrics,
};
use crate::{codes::ErrorCode, hub::Inner, questions::merged};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum About {
    /// Who is in the channel?
    Presence(Channel),
    /// How many are in the channel?
    PresenceStats(Channel),
    /// Which channels that match are heard?
    Channels(String),
}

/// An answer, or a part of one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Clients by their names, as others see them.
    Presence(BTreeMap<Uuid, Box<RawValue>>),
    /// A user may be on several nodes and counts once, so they are named.
    PresenceStats { clients: usize, users: BTreeSet<String> },
    /// Channels, with the number of their subscribers.
    Channels(BTreeMap<String, usize>),
}

/// Questions of this node that are not answered yet.
#[derive(Default)]
pub(super) struct Surveys {
    under_way: Mutex<HashMap<u64, Survey>>,
    /// Who wants to know what is being asked, and came too late for that.
    queues: Mutex<HashMap<About, Vec<Asker>>>,
}

type Asker = oneshot::Sender<Result<Bytes, ErrorCode>>;

struct Survey {
    waiting_for: HashSet<Uuid>,
    /// Nodes whose answer is whole.
    whole: HashSet<Uuid>,
    parts: Vec<(Uuid, Part)>,
    done: oneshot::Sender<Vec<Part>>,
}

impl Surveys {
    /// Stands in line. True for the first: it has to have the question asked.
    fn line_up(&self, about: &About, asker: Asker) -> bool {
        let mut queues = self.queues.lock();
        let first = !queues.contains_key(about);
        queues.entry(about.clone()).or_default().push(asker);
        first
    }

    /// Those for whom the question is asked next; `None` ends the line.
    fn next(&self, about: &About) -> Option<Vec<Asker>> {
        let mut queues = self.queues.lock();
        let askers = queues.get_mut(about).map(mem::take).filter(|askers| !askers.is_empty());
        if askers.is_none() {
            queues.remove(about);
        }
        askers
    }

    /// A node has answered; `last` if that was all.
    pub(super) fn answered(&self, call: u64, node: Uuid, part: Part, last: bool) {
        let mut surveys = self.under_way.lock();
        let Some(survey) = surveys.get_mut(&call) else { return };
        survey.parts.push((node, part));
        if last {
            survey.waiting_for.remove(&node);
            survey.whole.insert(node);
        }
        Self::finish(&mut surveys);
    }

    /// Nobody waits for a node that is gone.
    pub(super) fn gone(&self, node: Uuid) {
        let mut surveys = self.under_way.lock();
        for survey in surveys.values_mut() {
            survey.waiting_for.remove(&node);
        }
        Self::finish(&mut surveys);
    }

    fn finish(surveys: &mut HashMap<u64, Survey>) {
        for (_, survey) in surveys.extract_if(|_, survey| survey.waiting_for.is_empty()) {
            // A node that is gone, or has just come, may have said a part of what it had to say.
            let parts = survey.parts.into_iter().filter(|(node, _)| survey.whole.contains(node));
            survey.done.send(parts.map(|(_, part)| part).collect()).ok(); // has given up
        }
    }
}

/// Forgets a question, however it ends.
struct Asking<'a>(&'a Surveys, u64);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(Survey { waiting_for, .. }) = self.0.under_way.lock().remove(&self.1) {
            debug!(?waiting_for, "a question was not answered by every node");
        }
    }
}

impl Inner {
    /// Asks every node that is there, this one included. The answer is the JSON that [`merged`] makes.
    pub(crate) async fn survey(self: &Arc<Self>, nodes: &Nodes, about: About) -> Result<Bytes, ErrorCode> {
        let (asker, answered) = oneshot::channel();
        if nodes.surveys.line_up(&about, asker) {
            let hub = Arc::clone(self);
            self.context.tasks.spawn_on(async move { hub.ask_for_all(about).await }, &self.context.runtime);
        }
        let answer = timeout(self.context.config.bus_timeout, answered).await;
        answer.ok().and_then(Result::ok).unwrap_or(Err(ErrorCode::INTERNAL))
    }

    /// Asks again and again, until nobody wants to know any more.
    async fn ask_for_all(&self, about: About) {
        let Some(nodes) = &self.context.nodes else { return };
        while let Some(askers) = nodes.surveys.next(&about) {
            let asked = timeout(self.context.config.bus_timeout, nodes.ask(about.clone()));
            let parts = self.context.stopping.run_until_cancelled(asked).await.and_then(Result::ok).flatten();
            metrics::surveyed(parts.is_some());
            let answer = parts.map(|parts| Bytes::from(merged(&about, parts))).ok_or(ErrorCode::INTERNAL);
            for asker in askers {
                asker.send(answer.clone()).ok(); // has given up
            }
        }
    }
}

impl Nodes {
    async fn ask(&self, about: About) -> Option<Vec<Part>> {
        let call = self.calls.number();
        let others = self.roster.others().await;
        let (done, answered) = oneshot::channel();
        let waiting_for = others.into_iter().map(|(node, _)| node).chain([self.id]).collect();
        let survey = Survey { waiting_for, whole: HashSet::new(), parts: Vec::new(), done };
        self.surveys.under_way.lock().insert(call, survey);
        let _asking = Asking(&self.surveys, call);
        let key = about.key().to_owned();
        self.voice.say(&key, &Message::Question(Question { call, about })).await.ok()?;
        answered.await.ok()
    }
}

impl About {
    /// What the question has to keep its order with.
    fn key(&self) -> &str {
        match self {
            Self::Presence(channel) | Self::PresenceStats(channel) => channel.as_str(),
            Self::Channels(_) => "",
        }
    }
}

impl Part {
    /// The same in parts that a message can carry.
    pub(super) fn split(self, most: usize) -> Vec<Self> {
        match self {
            Self::Presence(clients) => {
                let size = |(_, info): &(Uuid, Box<RawValue>)| info.get().len() + 40;
                split(clients, most, size).into_iter().map(|part| Self::Presence(part.into_iter().collect())).collect()
            }
            Self::PresenceStats { clients, users } => {
                let parts = split(users, most, |user| user.len() + 4);
                let mut clients = Some(clients);
                let part = |users: Vec<String>| Self::PresenceStats {
                    clients: clients.take().unwrap_or_default(),
                    users: users.into_iter().collect(),
                };
                parts.into_iter().map(part).collect()
            }
            Self::Channels(channels) => {
                let parts = split(channels, most, |(name, _)| name.len() + 12);
                parts.into_iter().map(|part| Self::Channels(part.into_iter().collect())).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_while_a_question_is_under_way_is_answered_by_the_next() {
        let (surveys, about) = (Surveys::default(), About::Channels(String::new()));
        let come = || surveys.line_up(&about, oneshot::channel().0);
        assert!(come(), "the first has it asked");
        assert!(!come());
        assert_eq!(surveys.next(&about).unwrap().len(), 2, "nothing was said for the first yet");
        assert!(!come() && !come() && !come());
        assert_eq!(surveys.next(&about).unwrap().len(), 3);
        assert!(surveys.next(&about).is_none(), "nobody came any more");
        assert!(come());
    }

    #[test]
    fn a_node_that_goes_is_not_waited_for_and_half_an_answer_does_not_count() {
        let (surveys, [one, two]) = (Surveys::default(), [Uuid::from_u128(1), Uuid::from_u128(2)]);
        let (done, mut answered) = oneshot::channel();
        let survey = Survey { waiting_for: HashSet::from([one, two]), whole: HashSet::new(), parts: Vec::new(), done };
        surveys.under_way.lock().insert(7, survey);
        let part = |clients| Part::PresenceStats { clients, users: BTreeSet::new() };
        surveys.answered(7, two, part(20), false);
        surveys.answered(7, one, part(1), true);
        surveys.answered(8, one, part(300), true);
        assert!(answered.try_recv().is_err());
        surveys.gone(two);
        assert!(matches!(answered.try_recv().unwrap()[..], [Part::PresenceStats { clients: 1, .. }]));
    }

    #[test]
    fn a_large_answer_comes_in_parts_and_is_the_same_together() {
        let users: BTreeSet<String> = (0..100).map(|n| format!("user-{n}")).collect();
        let parts = Part::PresenceStats { clients: 250, users: users.clone() }.split(100);
        assert!(parts.len() > 9);
        let (mut all, mut sum) = (BTreeSet::new(), 0);
        for part in parts {
            let Part::PresenceStats { clients, mut users } = part else { panic!("another kind") };
            assert!(users.len() <= 10);
            all.append(&mut users);
            sum += clients;
        }
        assert_eq!((all, sum), (users, 250));
        assert_eq!(Part::Channels(BTreeMap::new()).split(100).len(), 1, "nothing is an answer as well");
    }
}
