//! A small timeline store: what PostgreSQL and the backend are to the real hub.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use async_trait::async_trait;
use hub::{Access, Authority, AuthorityError, Backlog, Subscription};
use parking_lot::Mutex;
use protocol::{Channel, Command, Epoch, Offset, Position};
use serde_json::{json, value::RawValue};
use tokio::sync::Semaphore;

use crate::{command, eventually};

pub(crate) struct Truth {
    rooms: Mutex<BTreeMap<i64, Room>>,
    members: Mutex<BTreeMap<String, BTreeSet<i64>>>,
    /// Set: every question fails.
    pub(crate) down: AtomicBool,
    /// Questions that have failed.
    pub(crate) refused: AtomicUsize,
    pub(crate) backlog_reads: AtomicUsize,
    /// An answer about subscriptions or access takes a permit after it has been read.
    pub(crate) answers: Semaphore,
    /// Questions whose answer has been read and waits for its permit, so far.
    pub(crate) asked: AtomicUsize,
    /// An answer about the backlog takes a permit as well.
    pub(crate) backlogs: Semaphore,
}

#[derive(Default)]
struct Room {
    epoch: String,
    lines: Vec<String>,
}

impl Default for Truth {
    fn default() -> Self {
        Self {
            rooms: Mutex::default(),
            members: Mutex::default(),
            down: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            backlog_reads: AtomicUsize::new(0),
            answers: Semaphore::new(100_000),
            asked: AtomicUsize::new(0),
            backlogs: Semaphore::new(100_000),
        }
    }
}

impl Truth {
    pub(crate) fn join(&self, user: &str, room: i64) {
        self.room(room, |_| ());
        self.members.lock().entry(user.into()).or_default().insert(room);
    }

    pub(crate) fn leave(&self, user: &str, room: i64) {
        self.members.lock().entry(user.into()).or_default().remove(&room);
    }

    /// Commits a line; the command is what the outbox row would say.
    pub(crate) fn append(&self, room: i64) -> Command {
        self.room(room, |it| {
            it.lines.push(json!({"room": room, "n": it.lines.len() + 1}).to_string());
        });
        let last = self.top(room);
        self.row(room, last)
    }

    /// The row that announces line `version`.
    pub(crate) fn row(&self, room: i64, version: u64) -> Command {
        self.room(room, |it| {
            let data: serde_json::Value = serde_json::from_str(&it.lines[version as usize - 1]).unwrap();
            command(
                "publish",
                json!({"channel": format!("room:{room}"), "data": data, "version": version, "version_epoch": it.epoch}),
            )
        })
    }

    pub(crate) fn top(&self, room: i64) -> u64 {
        self.room(room, |it| it.lines.len() as u64)
    }

    /// The room's history is replaced by another, as after a restore of the database.
    pub(crate) fn restore(&self, room: i64, epoch: &str) {
        self.room(room, |it| it.epoch = epoch.into());
    }

    /// From now on questions are asked, but answers wait for [`Semaphore::add_permits`].
    pub(crate) fn hold_answers(&self) {
        self.answers.forget_permits(usize::MAX);
    }

    pub(crate) fn reads(&self) -> usize {
        self.backlog_reads.load(Ordering::SeqCst)
    }

    /// Waits until a question has failed, and ends the failure.
    pub(crate) async fn recovers_after_a_refusal(&self) {
        eventually("a question fails", async || (self.refused.load(Ordering::SeqCst) > 0).then_some(())).await;
        self.down.store(false, Ordering::SeqCst);
    }

    fn room<T>(&self, room: i64, then: impl FnOnce(&mut Room) -> T) -> T {
        let mut rooms = self.rooms.lock();
        then(rooms.entry(room).or_insert_with(|| Room { epoch: format!("e{room}"), lines: Vec::new() }))
    }

    fn position(&self, room: i64) -> Position {
        self.room(room, |it| Position { epoch: Epoch::from(it.epoch.as_str()), offset: Offset(it.lines.len() as u64) })
    }

    fn check(&self) -> Result<(), AuthorityError> {
        if self.down.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(AuthorityError::unavailable("down"));
        }
        Ok(())
    }

    async fn answer(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl Authority for Truth {
    async fn subscriptions(&self, user: &str) -> Result<Vec<Subscription>, AuthorityError> {
        self.check()?;
        let rooms = self.members.lock().get(user).cloned().unwrap_or_default();
        let mut subscriptions: Vec<_> = rooms
            .into_iter()
            .map(|room| Subscription {
                channel: Channel::parse(&format!("room:{room}")).unwrap(),
                position: Some(self.position(room)),
            })
            .collect();
        let own = Channel::parse(&format!("user:{user}")).unwrap();
        subscriptions.push(Subscription { channel: own, position: None });
        self.answer().await;
        Ok(subscriptions)
    }

    async fn access(&self, user: &str, channel: &Channel) -> Result<Access, AuthorityError> {
        self.check()?;
        let room =
            channel.room_id().filter(|room| self.members.lock().get(user).is_some_and(|rooms| rooms.contains(&room.0)));
        let access = room.map_or(Access::Denied, |room| Access::Granted(Some(self.position(room.0))));
        self.answer().await;
        Ok(access)
    }

    async fn backlog(&self, channel: &Channel, after: Offset, limit: u32) -> Result<Backlog, AuthorityError> {
        self.check()?;
        self.backlog_reads.fetch_add(1, Ordering::SeqCst);
        let room = channel.room_id().ok_or(AuthorityError::NoSuchChannel)?;
        let position = self.position(room.0);
        let publications = self.room(room.0, |it| {
            (after.0 + 1..=it.lines.len() as u64)
                .take(limit as usize)
                .map(|version| {
                    (Offset(version), RawValue::from_string(it.lines[version as usize - 1].clone()).unwrap())
                })
                .collect()
        });
        self.backlogs.acquire().await.unwrap().forget();
        Ok(Backlog { position, publications })
    }
}
