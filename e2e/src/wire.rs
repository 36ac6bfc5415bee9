//! A wire in front of a server that can go dead without a word: nothing comes through any more, and nothing is closed.
//!
//! What is dead stays so, as when a host died or a firewall forgot the connection. New connections pass.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    select,
    sync::watch,
    task::JoinSet,
};

/// In which direction nothing comes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dead {
    /// In both.
    Both,
    /// The server hears nothing.
    ToServer,
    /// The client hears nothing.
    ToClient,
}

/// The wire. Ends with its connections when dropped.
pub struct Wire {
    address: SocketAddr,
    lines: Lines,
    _tasks: JoinSet<()>,
}

type Lines = Arc<Mutex<Vec<Line>>>;

/// A connection: what its client has said first, by which one knows it, and whether it is dead.
#[derive(Clone)]
struct Line {
    hello: Arc<Mutex<Vec<u8>>>,
    dead: watch::Sender<Option<Dead>>,
}

/// Enough of what a client says to know it by.
const HELLO: usize = 2048;

impl Wire {
    /// Before the server at `host:port`, which need not be there yet.
    pub async fn before(server: String) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let lines = Lines::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, Arc::clone(&lines)));
        Ok(Self { address, lines, _tasks: tasks })
    }

    /// Before the database at this address; also its address by the wire.
    pub async fn before_database(url: &str) -> anyhow::Result<(Self, String)> {
        let (before, rest) = url.rsplit_once('@').unwrap_or_default();
        let (server, database) = rest.split_once('/').unwrap_or_default();
        let wire = Self::before(server.to_owned()).await?;
        let by_wire = format!("{before}@{}/{database}", wire.address);
        Ok((wire, by_wire))
    }

    /// `host:port` for those who shall come by it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on nothing comes through on the connections there are whose clients have said this. How many these are.
    pub fn cut(&self, dead: Dead, said: &str) -> usize {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let named = lines.iter().filter(|line| line.dead.receiver_count() > 0 && line.said(said));
        named.map(|line| line.dead.send_replace(Some(dead))).filter(Option::is_none).count()
    }
}

impl Line {
    fn said(&self, what: &str) -> bool {
        let hello = self.hello.lock().unwrap_or_else(PoisonError::into_inner);
        what.is_empty() || hello.windows(what.len()).any(|part| part == what.as_bytes())
    }

    fn heard(&self, bytes: &[u8]) {
        let mut hello = self.hello.lock().unwrap_or_else(PoisonError::into_inner);
        let room = HELLO.saturating_sub(hello.len()).min(bytes.len());
        hello.extend_from_slice(&bytes[..room]);
    }
}

async fn accept(listener: TcpListener, server: String, lines: Lines) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let line = Line { hello: Arc::default(), dead: watch::Sender::new(None) };
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        let server = server.clone();
        connections.spawn(async move {
            if let Ok(server) = TcpStream::connect(server).await {
                pass(client, server, &line).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(client: TcpStream, server: TcpStream, line: &Line) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Whoever ends it, it has ended.
    let _ = tokio::join!(
        pump(from_client, to_server, line.dead.subscribe(), Dead::ToServer, |bytes| line.heard(bytes)),
        pump(from_server, to_client, line.dead.subscribe(), Dead::ToClient, |_| {}),
    );
}

/// One direction. A dead one keeps both of its ends open.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut dead: watch::Receiver<Option<Dead>>,
    direction: Dead,
    heard: impl Fn(&[u8]),
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let read = select! {
            biased;
            () = died(&mut dead, direction) => return std::future::pending().await,
            read = from.read(&mut buffer) => read?,
        };
        if read == 0 {
            return to.shutdown().await;
        }
        heard(&buffer[..read]);
        to.write_all(&buffer[..read]).await?;
    }
}

async fn died(dead: &mut watch::Receiver<Option<Dead>>, direction: Dead) {
    let _ = dead.wait_for(|dead| dead.is_some_and(|dead| dead == Dead::Both || dead == direction)).await;
}
