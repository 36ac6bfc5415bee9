//! The backend's `Poster`, called as its HTTP handler calls it, with each way to wake a relay after the commit.

use std::{fmt, sync::Arc};

use anyhow::{bail, ensure};
use async_trait::async_trait;
use backend::{CommitHook, MessageText, NewPost, Outcome, Poster, PosterLimits};
use protocol::{ClientMessageId, Command, Partition, RoomId, UserId};
use relay::{Destination, DestinationError, Notifier, Relay, RelayConfig, Verdict, Wakeup};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{Figure, Load, TEXT, closed_loop, scene::PEOPLE, scene::Scene};
use crate::cpu::Watched;

/// As the product has it.
const CONNECTIONS: u32 = 16;

/// Who is told that rows were committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wake {
    /// Nobody.
    Nobody,
    /// A relay in the same process.
    InProcess,
    /// Relays elsewhere: the coalesced NOTIFY.
    Notify,
}

impl fmt::Display for Wake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "no wake-up",
            Self::InProcess => "wake-up in the process",
            Self::Notify => "coalesced NOTIFY",
        })
    }
}

struct WakeNobody;

impl CommitHook for WakeNobody {
    fn committed(&self, _: Partition) {}
}

struct WakeInProcess(Wakeup);

impl CommitHook for WakeInProcess {
    fn committed(&self, partition: Partition) {
        self.0.wake(partition);
    }
}

struct WakeByNotify(Notifier);

impl CommitHook for WakeByNotify {
    fn committed(&self, partition: Partition) {
        self.0.notify(partition);
    }
}

/// A hub would cost more; what is measured is the writing.
struct Nowhere;

#[async_trait]
impl Destination for Nowhere {
    async fn deliver(&self, commands: &[Command]) -> Result<Vec<Verdict>, DestinationError> {
        Ok(vec![Verdict::Accepted; commands.len()])
    }
}

/// One run. Every message is checked to be there once.
pub(super) async fn through_poster(
    scene: &Scene,
    load: Load,
    wake: Wake,
    drained: bool,
    watched: &Watched,
) -> anyhow::Result<Figure> {
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    let wakeup = Wakeup::default();
    let hook: Arc<dyn CommitHook> = match wake {
        Wake::Nobody => Arc::new(WakeNobody),
        Wake::InProcess => Arc::new(WakeInProcess(wakeup.clone())),
        Wake::Notify => {
            let (notifier, task) = Notifier::new(&scene.url);
            tasks.spawn(task.run(stopping.clone()));
            Arc::new(WakeByNotify(notifier))
        }
    };
    if drained {
        let config = RelayConfig { listen: wake == Wake::Notify, ..RelayConfig::new(&scene.url) };
        tasks.spawn(Relay::new(config, Arc::new(Nowhere), wakeup).run(stopping.clone()));
    }
    let db = backend::connect(&scene.url, CONNECTIONS).await?;
    let poster = Poster::new(db.clone(), hook, PosterLimits::default());
    let text = MessageText::parse(TEXT)?;
    let measured = closed_loop(load, watched, {
        let poster = poster.clone();
        move |_| write(poster.clone(), load.write_rooms, text.clone())
    })
    .await;
    poster.stop().await;
    stopping.cancel();
    tasks.close();
    tasks.wait().await;
    db.close().await;
    let (figure, all) = measured?;
    let (counted, found) = scene.written().await?;
    ensure!(counted == found && usize::try_from(found)? == all, "{all} answers, {found} messages, {counted} counted");
    Ok(figure)
}

async fn write(poster: Poster, rooms: u16, text: MessageText) -> anyhow::Result<()> {
    let post = NewPost {
        room: RoomId(i64::from(rand::random_range(1..=rooms))),
        author: UserId(i64::from(rand::random_range(1..=PEOPLE))),
        text,
        client_id: ClientMessageId(Uuid::new_v4()),
        mode: None,
    };
    match poster.post(post).await? {
        Outcome::New(_) => Ok(()),
        other => bail!("not written: {other:?}"),
    }
}
