//! Thousands of clients that come at the same moment, in one thread: each connects, upgrades, says who it is and how far
//! it has got, and notes every frame that it reads. Frames are understood afterwards, when no clock runs.
//!
//! Who is refused or hung up on comes again after a fixed pause, as all the others do: the worst that can come to a hub.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::SockRef;

use crate::sockets::wire::{self, Kind};

/// Before a client that was refused comes again.
const PAUSE: Duration = Duration::from_millis(100);
const READ_BUFFER: usize = 256 << 10;
/// How long the thread sleeps at most before it looks at the time.
const LOOK: Duration = Duration::from_millis(10);

/// Frames of one client, as they came.
pub(super) type Frames = Vec<(Instant, Box<str>)>;

/// How often things went wrong on the way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Troubles {
    /// Nobody listened, or the connection was cut before the answer.
    pub(super) refused: usize,
    /// The upgrade or the connect command was answered with an error.
    pub(super) turned_down: usize,
}

pub(super) struct Crowd {
    address: SocketAddr,
    upgrade: Vec<u8>,
    poll: Poll,
    members: Vec<Member>,
    inside: usize,
    /// Those who were refused, and when they come again, the first one first.
    again: VecDeque<(Instant, usize)>,
    troubles: Troubles,
    buffer: Vec<u8>,
}

struct Member {
    /// The connect command, framed.
    hello: Vec<u8>,
    stage: Stage,
    received: Vec<u8>,
    frames: Frames,
}

/// How far a client is on its way in.
enum Stage {
    Away,
    Connecting(TcpStream),
    Upgrading(TcpStream),
    Asking(TcpStream),
    In(TcpStream),
}

impl Stage {
    fn stream(&mut self) -> Option<&mut TcpStream> {
        match self {
            Self::Away => None,
            Self::Connecting(stream) | Self::Upgrading(stream) | Self::Asking(stream) | Self::In(stream) => {
                Some(stream)
            }
        }
    }
}

impl Crowd {
    /// Nobody is connected yet. `hellos` are the connect commands, one a client.
    pub(super) fn new(address: SocketAddr, hellos: &[String]) -> anyhow::Result<Self> {
        let upgrade = format!(
            "GET /connection/websocket HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cm9vbWNhc3QtYmVuY2gtMQ==\r\n\r\n"
        );
        let member = |hello: &String| Member {
            hello: wire::masked(hello),
            stage: Stage::Away,
            received: Vec::new(),
            frames: Vec::new(),
        };
        Ok(Self {
            address,
            upgrade: upgrade.into_bytes(),
            poll: Poll::new()?,
            members: hellos.iter().map(member).collect(),
            inside: 0,
            again: VecDeque::new(),
            troubles: Troubles::default(),
            buffer: vec![0; READ_BUFFER],
        })
    }

    /// Lets them come, `together` at a time, and returns when all of them are in.
    pub(super) fn come(&mut self, together: usize, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        let mut next = 0;
        while self.inside < self.members.len() {
            while next < self.members.len() && next - self.inside < together {
                self.connect(next)?;
                next += 1;
            }
            self.turn()?;
            self.come_again()?;
            if Instant::now() > deadline {
                bail!("{} of {} clients are connected after {patience:?}", self.inside, self.members.len());
            }
        }
        Ok(())
    }

    /// Reads on until `quiet` has passed without a frame.
    pub(super) fn stay(&mut self, quiet: Duration) -> anyhow::Result<()> {
        let mut since = Instant::now();
        while since.elapsed() < quiet {
            if self.turn()? > 0 {
                since = Instant::now();
            }
        }
        Ok(())
    }

    /// What each has read, and what went wrong; the connections end.
    pub(super) fn leave(self) -> (Vec<Frames>, Troubles) {
        (self.members.into_iter().map(|member| member.frames).collect(), self.troubles)
    }

    fn connect(&mut self, index: usize) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        // Thousands that leave at once would use up the ports of this machine for a minute.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        self.members[index].stage = Stage::Connecting(stream);
        Ok(())
    }

    fn come_again(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        while let Some((_, index)) = self.again.pop_front_if(|(when, _)| *when <= now) {
            self.connect(index)?;
        }
        Ok(())
    }

    /// One look at the sockets; says how many frames came.
    fn turn(&mut self) -> anyhow::Result<usize> {
        let mut events = Events::with_capacity(4096);
        match self.poll.poll(&mut events, Some(LOOK)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(0),
            polled => polled?,
        }
        let mut frames = 0;
        for event in &events {
            let index = event.token().0;
            let before = self.members[index].progress();
            match self.advance(index) {
                Ok(()) => {
                    let after = self.members[index].progress();
                    self.inside += usize::from(after.0 && !before.0);
                    frames += after.1 - before.1;
                }
                Err(trouble) => self.send_away(index, trouble)?,
            }
        }
        Ok(frames)
    }

    fn send_away(&mut self, index: usize, trouble: Trouble) -> anyhow::Result<()> {
        let member = &mut self.members[index];
        if let Stage::In(_) = member.stage {
            return Err(trouble.into_error()).with_context(|| format!("client {index} lost its connection"));
        }
        match &trouble {
            Trouble::Cut(_) => self.troubles.refused += 1,
            Trouble::TurnedDown(_) => self.troubles.turned_down += 1,
        }
        if let Some(stream) = member.stage.stream() {
            self.poll.registry().deregister(stream)?;
        }
        member.received.clear();
        member.frames.clear();
        member.stage = Stage::Away;
        self.again.push_back((Instant::now() + PAUSE, index));
        Ok(())
    }

    /// Takes the next steps of one client.
    fn advance(&mut self, index: usize) -> Result<(), Trouble> {
        let Self { members, buffer, upgrade, .. } = self;
        let member = &mut members[index];
        if let Stage::Connecting(stream) = &mut member.stage {
            if let Some(error) = stream.take_error()? {
                return Err(error.into());
            }
            match stream.peer_addr() {
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                connected => drop(connected?),
            }
            stream.set_nodelay(true)?;
            stream.write_all(upgrade)?;
            member.stage = member.step(Stage::Upgrading);
        }
        member.read(buffer)?;
        if let Stage::Upgrading(stream) = &mut member.stage {
            let Some(end) = memchr::memmem::find(&member.received, b"\r\n\r\n") else { return Ok(()) };
            if !member.received.starts_with(b"HTTP/1.1 101 ") {
                let head = String::from_utf8_lossy(&member.received[..end]);
                return Err(Trouble::TurnedDown(head.lines().next().unwrap_or_default().to_owned()));
            }
            stream.write_all(&member.hello)?;
            member.received.drain(..end + 4);
            member.stage = member.step(Stage::Asking);
        }
        member.take_frames()
    }
}

impl Member {
    /// Whether it is in, and how many frames it has.
    fn progress(&self) -> (bool, usize) {
        (matches!(self.stage, Stage::In(_)), self.frames.len())
    }

    fn step(&mut self, to: impl FnOnce(TcpStream) -> Stage) -> Stage {
        match std::mem::replace(&mut self.stage, Stage::Away) {
            Stage::Connecting(stream) | Stage::Upgrading(stream) | Stage::Asking(stream) | Stage::In(stream) => {
                to(stream)
            }
            Stage::Away => Stage::Away,
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), Trouble> {
        let Some(stream) = self.stage.stream() else { return Ok(()) };
        loop {
            match stream.read(buffer) {
                Ok(0) => return Err(Trouble::Cut("the hub hung up".to_owned())),
                Ok(read) => self.received.extend(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Notes the complete frames; the first reply lets the client in.
    fn take_frames(&mut self) -> Result<(), Trouble> {
        let mut used = 0;
        while let Some((kind, payload)) = wire::frame(&self.received[used..]) {
            let text = &self.received[used + payload.start..used + payload.end];
            used += payload.end;
            match kind {
                Kind::Text if text == b"{}" => {
                    if let Some(stream) = self.stage.stream() {
                        stream.write_all(&wire::masked("{}"))?;
                    }
                }
                Kind::Text => {
                    let text = String::from_utf8_lossy(text);
                    if let Stage::Asking(_) = self.stage {
                        if text.starts_with("{\"id\":1,\"error\"") {
                            return Err(Trouble::TurnedDown(text.into_owned()));
                        }
                        if text.starts_with("{\"id\":1,") {
                            self.frames.push((Instant::now(), text.into()));
                            self.stage = self.step(Stage::In);
                            continue;
                        }
                    }
                    self.frames.push((Instant::now(), text.into()));
                }
                Kind::Close => return Err(Trouble::TurnedDown(close_reason(text))),
                Kind::Other => {}
            }
        }
        self.received.drain(..used);
        Ok(())
    }
}

fn close_reason(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned()
}

/// Why a client is not in.
#[derive(Debug)]
enum Trouble {
    Cut(String),
    TurnedDown(String),
}

impl Trouble {
    fn into_error(self) -> anyhow::Error {
        match self {
            Self::Cut(why) | Self::TurnedDown(why) => anyhow::anyhow!(why),
        }
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Cut(error.to_string())
    }
}
