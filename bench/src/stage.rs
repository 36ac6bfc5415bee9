//! The seeded people in rooms made for one run. The rooms stay: the product has no way to delete one.

use anyhow::Context;
use futures_util::future::try_join_all;
use sqlx::PgConnection;

use crate::{
    person::{Http, Person},
    subscriber::Subscriber,
};

const PEOPLE: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// Everybody is a member of every room.
pub struct Stage {
    /// The four; nobody, where there is no backend.
    pub people: Vec<Person>,
    /// Who writes.
    pub author: i64,
    /// Their rooms.
    pub rooms: Vec<i64>,
}

impl Stage {
    /// Signs in, creates the rooms, joins.
    pub async fn prepare(origin: &str, rooms: usize) -> anyhow::Result<Self> {
        let http = Http::new(origin)?;
        let people = try_join_all(PEOPLE.iter().map(|name| http.sign_in(name))).await?;
        let run = rand::random::<u32>();
        let mut ids = Vec::with_capacity(rooms);
        for number in 1..=rooms {
            let room = people[0].create_room(&format!("Bench {run:08x} {number}")).await.context("creating a room")?;
            try_join_all(people[1..].iter().map(|person| person.join(room))).await.context("joining")?;
            ids.push(room);
        }
        Ok(Self { author: people[0].id, people, rooms: ids })
    }

    /// The same without a backend, in a database with the product's schema: one author, and rooms without members.
    pub async fn by_sql(database: &mut PgConnection, rooms: usize) -> anyhow::Result<Self> {
        let run = rand::random::<u32>();
        let author =
            "insert into users (username, name, password_hash) values ('bench_' || $1, 'Bench', 'x') returning id";
        let author = sqlx::query_scalar(author).bind(format!("{run:08x}")).fetch_one(&mut *database).await?;
        let made =
            "insert into rooms (name) select 'Bench ' || $1 || ' ' || n from generate_series(1, $2) n returning id";
        let made = sqlx::query_scalar(made).bind(format!("{run:08x}")).bind(i64::try_from(rooms)?);
        Ok(Self { people: Vec::new(), author, rooms: made.fetch_all(database).await? })
    }

    /// Connects clients of the people in turn; each hears every room.
    pub async fn subscribe(&self, websocket: &str, count: usize, buffer: usize) -> anyhow::Result<Vec<Subscriber>> {
        let people = self.people.iter().cycle().take(count);
        try_join_all(people.map(|person| Subscriber::connect(websocket, person, &self.rooms, buffer))).await
    }
}

/// Where a backend at this origin has its WebSocket when nothing else is said.
pub fn websocket_of(origin: &str) -> String {
    format!("{}/connection/websocket", origin.trim_end_matches('/').replacen("http", "ws", 1))
}
