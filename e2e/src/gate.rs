//! A door in front of a server, to break a connection at a chosen moment: between a request and its answer, for instance.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    select,
    sync::watch,
    task::JoinSet,
};

/// What the door does with connections. A change ends those that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// All goes through.
    Open,
    /// Nobody answers: connections end as soon as they begin.
    Shut,
    /// Requests go nowhere and are never answered.
    Hold,
    /// Requests go through, and their answers go nowhere.
    OneWay,
}

/// The door. Ends with its connections when dropped.
pub struct Gate {
    address: SocketAddr,
    passage: watch::Sender<Passage>,
    kept: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

impl Gate {
    /// Before the server at `host:port`, open. The server need not be there yet.
    pub async fn before(server: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (passage, watched) = watch::channel(Passage::Open);
        let (keeping, kept) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (server, mut watched, keeping) = (server.clone(), watched.clone(), keeping.clone());
                let passage = *watched.borrow_and_update();
                connections.spawn(async move {
                    select! { _ = watched.changed() => {}, _ = pass(passage, client, server, keeping) => {} }
                });
            }
        });
        Ok(Self { address, passage, kept, _tasks: tasks })
    }

    /// `host:port` for those who shall come through it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on.
    pub fn turn(&self, passage: Passage) {
        self.passage.send_replace(passage);
    }

    /// How many requests it has held, or answers it has kept to itself.
    pub fn kept(&self) -> u64 {
        *self.kept.borrow()
    }

    /// Waits until it has held or kept one more than `before`.
    pub async fn keeps_more_than(&mut self, before: u64) -> anyhow::Result<()> {
        self.kept.wait_for(|&kept| kept > before).await?;
        Ok(())
    }
}

async fn pass(
    passage: Passage,
    mut client: TcpStream,
    server: String,
    keeping: watch::Sender<u64>,
) -> std::io::Result<()> {
    match passage {
        Passage::Shut => {}
        Passage::Open => {
            copy_bidirectional(&mut client, &mut TcpStream::connect(server).await?).await?;
        }
        Passage::Hold => swallow(&mut client, &keeping).await?,
        Passage::OneWay => {
            let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
            let (mut from_client, _to_client) = client.into_split();
            let requests = async {
                tokio::io::copy(&mut from_client, &mut to_server).await?;
                to_server.shutdown().await
            };
            tokio::try_join!(requests, swallow(&mut from_server, &keeping))?;
        }
    }
    Ok(())
}

async fn swallow(from: &mut (impl AsyncReadExt + Unpin), keeping: &watch::Sender<u64>) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    while from.read(&mut buffer).await? > 0 {
        keeping.send_modify(|kept| *kept += 1);
    }
    Ok(())
}
