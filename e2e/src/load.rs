//! Four people who write into the same rooms, with two clients each, and the check of what all of them saw.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio::sync::watch;

use crate::{App, Person, TestClient};

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];
/// After a restart of what runs in a JVM, beside other tests.
const PATIENCE: Duration = Duration::from_mins(2);

/// How many there were so far.
static LOADS: AtomicU32 = AtomicU32::new(0);

/// People in rooms, and the clients that listen.
pub struct Load {
    /// Who writes. The first is an administrator.
    pub people: Vec<Person>,
    /// Where.
    pub rooms: Vec<i64>,
    /// Who listens: two clients of each person.
    pub clients: Vec<TestClient>,
    ways: Vec<&'static str>,
    saved: watch::Sender<usize>,
}

impl Load {
    /// Everybody joins every room; two clients of each connect.
    pub async fn prepare(app: &App, rooms: usize) -> anyhow::Result<Self> {
        let people = try_join_all(PEOPLE.iter().map(|name| app.person(name))).await?;
        let load = LOADS.fetch_add(1, Ordering::Relaxed); // no two rooms of a database have one name
        let mut numbers = Vec::new();
        for number in 0..rooms {
            let room = people[0].create_room(&format!("Load {load}, {number}")).await?;
            for person in &people[1..] {
                person.join(room).await?;
            }
            numbers.push(room);
        }
        let mut clients = Vec::new();
        for person in people.iter().chain(&people) {
            clients.push(TestClient::connect(person, &app.websocket()).await?);
        }
        Ok(Self { people, rooms: numbers, clients, ways: Vec::new(), saved: watch::Sender::new(0) })
    }

    /// From now on each message names its way: those of one room the same, in turn from room to room.
    pub fn travels_by(&mut self, ways: &[&'static str]) {
        self.ways = ways.to_vec();
    }

    /// Writes this many messages, each person at their own pace.
    pub async fn write(&self, messages: usize) -> anyhow::Result<()> {
        let from = *self.saved.borrow();
        try_join_all((0..PEOPLE.len()).map(|who| async move {
            for number in (from + who..from + messages).step_by(PEOPLE.len()) {
                self.say(who, number).await?;
            }
            anyhow::Ok(())
        }))
        .await?;
        Ok(())
    }

    /// Writes this many messages a second until `enough`, or fewer if the machine cannot.
    pub async fn write_at(&self, rate: u32, enough: impl Future) -> anyhow::Result<()> {
        let from = *self.saved.borrow();
        let end = watch::Sender::new(false);
        // More writers than people, as each waits for its answer.
        let writers = PEOPLE.len() * 4;
        let writing = try_join_all((0..writers).map(|writer| {
            let end = end.subscribe();
            async move {
                let mut beat = tokio::time::interval(Duration::from_secs(1) * u32::try_from(writers)? / rate);
                for number in (from + writer..).step_by(writers) {
                    beat.tick().await;
                    if *end.borrow() {
                        break;
                    }
                    self.say(writer % PEOPLE.len(), number).await?;
                }
                anyhow::Ok(())
            }
        }));
        let ending = async {
            enough.await;
            end.send_replace(true);
            Ok(())
        };
        tokio::try_join!(writing, ending)?;
        Ok(())
    }

    /// The first of the people says this, beside what all are writing.
    pub async fn say_here(&self, room: i64, text: &str) -> anyhow::Result<()> {
        self.people[0].say(room, text).await?;
        self.saved.send_modify(|saved| *saved += 1);
        Ok(())
    }

    async fn say(&self, who: usize, number: usize) -> anyhow::Result<()> {
        let index = (number / PEOPLE.len() + who) % self.rooms.len();
        let way = if self.ways.is_empty() { None } else { Some(self.ways[index % self.ways.len()]) };
        let person = &self.people[who];
        person.say_by(way, self.rooms[index], &format!("{} says {number}", person.username)).await?;
        self.saved.send_modify(|saved| *saved += 1);
        Ok(())
    }

    /// How many messages have been saved.
    pub fn saved(&self) -> usize {
        *self.saved.borrow()
    }

    /// The same, to wait for more while the load is busy.
    pub fn watch_saved(&self) -> watch::Receiver<usize> {
        self.saved.subscribe()
    }

    /// Waits until this many have been saved.
    pub async fn has_saved(&self, messages: usize) -> anyhow::Result<()> {
        self.saved.subscribe().wait_for(|&saved| saved >= messages).await?;
        Ok(())
    }

    /// Every client has, in every room, exactly what the truth has after the client's first position.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        let mut texts = 0;
        for &room in &self.rooms {
            let truth = self.people[0].timeline(room).await?;
            texts += truth.iter().filter(|line| line.kind == "text").count();
            let top = truth.last().map_or(0, |line| line.version);
            let versions: Vec<u64> = truth.iter().map(|line| line.version).collect();
            assert_eq!(versions, (1..=top).collect::<Vec<_>>(), "versions of room {room} are gapless");

            let channel = format!("room:{room}");
            for client in &mut self.clients {
                client.caught_up(&channel, top, PATIENCE).await?;
                let journal = client.journal(&channel);
                assert_eq!(journal.faults, Vec::<String>::new(), "{channel}");
                let expected: Vec<_> = truth.iter().filter(|line| line.version > journal.start).cloned().collect();
                assert_eq!(journal.lines, expected, "{channel}");
            }
        }
        assert_eq!(texts, self.saved(), "each message is saved once");
        Ok(())
    }

    /// How often the clients have connected, all together.
    pub fn connections(&self) -> u64 {
        self.clients.iter().map(TestClient::connections).sum()
    }
}
