//! A small world to begin with: four people who know each other, five rooms, and what they said there.
//!
//! Written by the same functions as everything else, so that a relay announces it and versions begin at 1. (What the
//! mode `api` would publish is not: at the seeding nobody listens.)

use protocol::{ClientMessageId, Mode, Offset, RoomId};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::{
    ApiError, CurrentUser,
    auth::Passwords,
    routes::{add_member, add_room},
    store::{self, messages::Post, users::NewUser},
};

/// The password of all of them. They are for loopback only.
pub const PASSWORD: &str = "roomcast";

/// Usernames and names. The first may administer.
pub const PEOPLE: [(&str, &str); 4] = [("alice", "Alice"), ("bob", "Bob"), ("carol", "Carol"), ("dave", "Dave")];

const ALICE: usize = 0;
const BOB: usize = 1;
const CAROL: usize = 2;
const DAVE: usize = 3;

/// A room: its name, its people in the order in which they came, and who said what.
struct Scene {
    name: &'static str,
    people: &'static [usize],
    said: &'static [(usize, &'static str)],
}

/// Nobody is in every room, so that everybody has something to discover.
const SCENES: [Scene; 5] = [
    Scene {
        name: "Music at lunch",
        people: &[CAROL, DAVE],
        said: &[
            (CAROL, "Room B at 12:30, I bring the small amp."),
            (DAVE, "Bass is packed. Same three songs, or do we dare the fourth?"),
            (CAROL, "We dare. Slowly."),
        ],
    },
    Scene {
        name: "Coffee machine",
        people: &[BOB, CAROL, DAVE],
        said: &[
            (BOB, "It says \"descale\" again. I did it on Monday, I swear."),
            (DAVE, "It says that to everybody. Hold both buttons for five seconds."),
            (CAROL, "That worked!\nAlso: there are new beans, the light roast is on the left."),
            (BOB, "Light roast on the left, noted. Thank you both."),
        ],
    },
    Scene {
        name: "Releases",
        people: &[ALICE, DAVE],
        said: &[
            (ALICE, "2.4 goes out on Thursday. Everything in is in."),
            (DAVE, "Migration rehearsed on a copy: 40 seconds, no lock longer than a second."),
            (ALICE, "Lovely. Then Thursday 10:00 it is, and cake at 11."),
        ],
    },
    Scene {
        name: "Product",
        people: &[ALICE, BOB, CAROL],
        said: &[
            (CAROL, "Five interviews done. Four people asked the same thing: \"did my message arrive?\""),
            (BOB, "So we show it: sending, saved, delivered. Three words, no icons to decode."),
            (ALICE, "Agreed. And if it fails, the text must never be lost."),
            (CAROL, "I will put both on the first sketch and bring it tomorrow."),
            (BOB, "Sketch looks great, by the way. Small thing: the badge should count texts, not joins."),
        ],
    },
    Scene {
        name: "General",
        people: &[ALICE, BOB, CAROL, DAVE],
        said: &[
            (ALICE, "Welcome, everybody! This is where we say good morning."),
            (BOB, "Good morning! ☀️"),
            (CAROL, "Morning. Train is late, I join the stand-up from the platform."),
            (DAVE, "Good morning from the office. It is very quiet here."),
            (ALICE, "Stand-up in ten minutes. Short one: what is done, what is stuck."),
            (DAVE, "Stuck: nothing. Done: the thing that was stuck yesterday."),
            (BOB, "Open a second window, sign in as somebody else and write here: it shows up at once."),
        ],
    },
];

/// Why there is no small world.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// A statement failed.
    #[error("cannot write the demo's people and rooms")]
    Database(#[from] sqlx::Error),
    /// A password could not be hashed.
    #[error("cannot hash the demo's passwords")]
    Password(#[source] ApiError),
}

/// Writes the small world, all of it or nothing. False: there is an alice already, so nothing was done.
pub async fn demo(db: &PgPool) -> Result<bool, SeedError> {
    let mut tx = db.begin().await?;
    let mut people = Vec::with_capacity(PEOPLE.len());
    for (index, (username, name)) in PEOPLE.into_iter().enumerate() {
        // Who comes second waits here until the first has committed, and then finds alice.
        match person(&mut tx, username, name, index == ALICE).await? {
            Some(person) => people.push(person),
            None => return Ok(false),
        }
    }
    let mode = store::settings::broadcast_mode(&mut tx).await?;
    for scene in &SCENES {
        play(&mut tx, mode, scene, &people).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn person(
    conn: &mut PgConnection,
    username: &str,
    name: &str,
    is_admin: bool,
) -> Result<Option<CurrentUser>, SeedError> {
    if store::users::by_username(conn, username).await?.is_some() {
        return Ok(None); // a second start need not hash
    }
    let password_hash = Passwords::default().hash(PASSWORD.to_owned()).await.map_err(SeedError::Password)?;
    let new = NewUser { username, name, password_hash: &password_hash, is_admin };
    let id = store::users::insert(conn, &new).await?;
    Ok(id.map(|id| CurrentUser { id, username: username.to_owned(), name: name.to_owned(), is_admin }))
}

async fn play(conn: &mut PgConnection, mode: Mode, scene: &Scene, people: &[CurrentUser]) -> sqlx::Result<()> {
    let Some((&host, guests)) = scene.people.split_first() else { return Ok(()) };
    let Some((id, _)) = add_room(conn, mode, scene.name, &people[host]).await? else { return Ok(()) };
    for &guest in guests {
        if let Some(room) = store::rooms::lock(conn, id).await? {
            add_member(conn, mode, &room, &people[guest]).await?;
        }
    }
    for (who, text) in scene.said {
        say(conn, id, &people[*who], text).await?;
    }
    Ok(())
}

/// Who answers has read what was said before.
async fn say(conn: &mut PgConnection, room: RoomId, author: &CurrentUser, text: &str) -> sqlx::Result<()> {
    store::members::mark_read(conn, room, author.id, Offset(u64::MAX)).await?;
    let post = Post { room, author: author.id, text, client_id: ClientMessageId(Uuid::now_v7()), mode: None };
    store::messages::post(conn, &[post], true).await.map(drop)
}
