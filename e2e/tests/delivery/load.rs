//! A load of 1,000 messages over 20 rooms by four people, with two clients each, and the check of what all of them saw.

use std::time::Duration;

use e2e::{App, Person, TestClient};
use futures_util::future::try_join_all;

/// Rooms in the load.
pub(crate) const ROOMS: usize = 20;
/// Messages in all.
pub(crate) const MESSAGES: usize = 1_000;
const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];
const PATIENCE: Duration = Duration::from_secs(90);

/// People in rooms, and the clients that listen.
pub(crate) struct Load {
    people: Vec<Person>,
    rooms: Vec<i64>,
    clients: Vec<TestClient>,
}

impl Load {
    /// Everybody joins every room; two clients of each connect.
    pub(crate) async fn prepare(app: &App) -> anyhow::Result<Self> {
        let people = try_join_all(PEOPLE.iter().map(|name| app.person(name))).await?;
        let mut rooms = Vec::new();
        for number in 0..ROOMS {
            let room = people[0].create_room(&format!("Load {number}")).await?;
            for person in &people[1..] {
                person.join(room).await?;
            }
            rooms.push(room);
        }
        let mut clients = Vec::new();
        for person in people.iter().chain(&people) {
            clients.push(TestClient::connect(person, &app.websocket()).await?);
        }
        Ok(Self { people, rooms, clients })
    }

    /// Writes the messages, each person at their own pace; `halfway` is told when half of them are saved.
    pub(crate) async fn write(&self, halfway: tokio::sync::oneshot::Sender<()>) -> anyhow::Result<()> {
        let saved = std::sync::atomic::AtomicUsize::new(0);
        let halfway = std::sync::Mutex::new(Some(halfway));
        try_join_all(self.people.iter().enumerate().map(|(who, person)| {
            let (saved, halfway) = (&saved, &halfway);
            async move {
                for number in (who..MESSAGES).step_by(PEOPLE.len()) {
                    let room = self.rooms[(number / PEOPLE.len() + who) % ROOMS];
                    person.say(room, &format!("{} says {number}", person.username)).await?;
                    if saved.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1 == MESSAGES / 2
                        && let Some(halfway) = halfway.lock().ok().and_then(|mut it| it.take())
                    {
                        let _ = halfway.send(());
                    }
                }
                anyhow::Ok(())
            }
        }))
        .await?;
        Ok(())
    }

    /// Every client has, in every room, exactly what the truth has after the client's first position.
    pub(crate) async fn check(&mut self) -> anyhow::Result<()> {
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
        assert_eq!(texts, MESSAGES, "each message is saved once");
        Ok(())
    }

    /// How often the clients have connected, all together.
    pub(crate) fn connections(&self) -> u64 {
        self.clients.iter().map(TestClient::connections).sum()
    }
}
