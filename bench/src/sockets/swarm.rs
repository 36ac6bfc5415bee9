//! Many clients in one thread: connected one after the other, then read as they become readable.
//!
//! The data of each publication has the time of its writing; in each channel, whose name ends with its number, offsets
//! follow each other from 1 on.

use std::{
    collections::{HashMap, HashSet},
    io::{ErrorKind, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, bail};
use memchr::{memchr, memchr_iter, memmem::Finder, memrchr};
use mio::{Events, Interest, Poll, Token, net::TcpStream};
use serde_json::json;
use tokio::sync::Semaphore;

use super::{
    target::Target,
    wire::{self, Kind},
};
use crate::{clock::unix_micros, delivery::Faults};

/// A read takes what has piled up at one socket; all clients share the buffer.
const READ_BUFFER: usize = 256 << 10;
/// How long the thread sleeps at most before it looks whether it shall stop.
const LOOK: Duration = Duration::from_millis(50);
/// The thread reads in rounds, this far apart. Clients of a real service are elsewhere; ones that wait on this machine
/// have the server's write pay for waking them, and how often depends on who of the two is a little faster: the same
/// server takes once or twice its time, by chance. Latencies are longer by half of it on average, for every server.
const ROUND: Duration = Duration::from_micros(250);

/// Connected clients that nobody reads yet.
pub(super) struct Swarm {
    clients: Vec<Client>,
}

/// One client, and what it has seen.
struct Client {
    stream: TcpStream,
    /// The begin of a frame whose end has not come yet.
    partial: Vec<u8>,
    /// Its channels, by their numbers.
    channels: HashMap<usize, Progress>,
}

/// How far a client is in a channel.
struct Progress {
    /// The offset that comes next.
    next: u64,
    missing: HashSet<u64>,
}

/// What a swarm saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Written → read, in microseconds, of each delivery.
    pub(super) latencies: Vec<i64>,
    pub(super) faults: Faults,
}

impl Swarm {
    /// Connects `count` clients, whose numbers begin at `first`; `channels` says which channels each has:
    /// number and name.
    pub(super) fn connect(
        target: &Target,
        first: usize,
        count: usize,
        channels: impl Fn(usize) -> Vec<(usize, String)>,
    ) -> anyhow::Result<Self> {
        let (address, path) = target.socket_address()?;
        let mut clients = Vec::with_capacity(count);
        for number in first..first + count {
            let channels = channels(number);
            let commands = commands(target, number, &channels)?;
            let stream = wire::open(&address, &path, &commands).with_context(|| format!("client {number}"))?;
            stream.set_nonblocking(true)?;
            let stream = TcpStream::from_std(stream);
            let channels = channels.into_iter().map(|(channel, _)| (channel, Progress::new())).collect();
            clients.push(Client { stream, partial: Vec::new(), channels });
        }
        Ok(Self { clients })
    }

    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Reads in a thread of its own. For every `audience` deliveries, as many as a channel has clients, a permit is released.
    pub(super) fn read(self, audience: usize) -> Reading {
        let (stop, arrived) = (Arc::new(AtomicBool::new(false)), Arc::new(Semaphore::new(0)));
        let thread = std::thread::spawn({
            let (stop, arrived) = (Arc::clone(&stop), Arc::clone(&arrived));
            move || Reader::new(self.clients)?.run(audience, &stop, &arrived)
        });
        Reading { arrived, stop, thread }
    }
}

fn commands(target: &Target, number: usize, channels: &[(usize, String)]) -> anyhow::Result<Vec<String>> {
    let connect = match target.token(number)? {
        Some(token) => json!({ "id": 1, "connect": { "token": token, "name": "bench" } }),
        None => json!({ "id": 1, "connect": { "name": "bench" } }),
    };
    let subscribe = channels.iter().enumerate().map(|(index, (_, channel))| {
        json!({ "id": index + 2, "subscribe": { "channel": channel, "positioned": true, "recoverable": true } })
    });
    Ok([connect].into_iter().chain(subscribe).map(|command| command.to_string()).collect())
}

/// A swarm that reads.
pub(super) struct Reading {
    /// Has a permit for each publication that has come to all clients of its channel.
    pub(super) arrived: Arc<Semaphore>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<(Seen, Vec<Client>)>>,
}

impl Reading {
    /// Whether the clients still read; they stop early when something is wrong.
    pub(super) fn goes_on(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Ends it. `published` says how many publications there were in a channel.
    pub(super) fn stop(self, published: impl Fn(usize) -> u64) -> anyhow::Result<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join().map_err(|_| anyhow::anyhow!("the thread of the clients panicked"))?;
        let (mut seen, clients) = ended?;
        let channels = clients.iter().flat_map(|client| &client.channels);
        let lost = channels.map(|(&channel, progress)| {
            progress.missing.len() as u64 + (published(channel) + 1).saturating_sub(progress.next)
        });
        seen.faults.lost = usize::try_from(lost.sum::<u64>())?;
        Ok(seen)
    }
}

struct Reader {
    poll: Poll,
    clients: Vec<Client>,
    lines: Lines,
    seen: Seen,
}

impl Reader {
    fn new(mut clients: Vec<Client>) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        for (index, client) in clients.iter_mut().enumerate() {
            poll.registry().register(&mut client.stream, Token(index), Interest::READABLE)?;
        }
        Ok(Self { poll, clients, lines: Lines::new(), seen: Seen::default() })
    }

    fn run(mut self, audience: usize, stop: &AtomicBool, arrived: &Semaphore) -> anyhow::Result<(Seen, Vec<Client>)> {
        let (mut events, mut buffer, mut released) = (Events::with_capacity(1024), vec![0; READ_BUFFER], 0);
        while !stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(LOOK)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                self.read(event.token().0, &mut buffer).with_context(|| format!("client {}", event.token().0))?;
            }
            let complete = self.seen.latencies.len() / audience.max(1);
            arrived.add_permits(complete - released);
            released = complete;
            std::thread::sleep(ROUND);
        }
        Ok((self.seen, self.clients))
    }

    /// Takes what is there.
    fn read(&mut self, index: usize, buffer: &mut [u8]) -> anyhow::Result<()> {
        let Self { clients, lines, seen, .. } = self;
        let client = &mut clients[index];
        loop {
            let read = match client.stream.read(buffer) {
                Ok(0) => bail!("the server hung up"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let at = unix_micros();
            let mut bytes = std::mem::take(&mut client.partial);
            if bytes.is_empty() {
                let used = lines.take(&buffer[..read], at, client, seen)?;
                client.partial.extend(&buffer[used..read]);
            } else {
                bytes.extend(&buffer[..read]);
                let used = lines.take(&bytes, at, client, seen)?;
                client.partial.extend(&bytes[used..]);
            }
            // Of a stream, a short read has taken all that was there.
            if read < buffer.len() {
                return Ok(());
            }
        }
    }
}

/// Finds publications in frames without reading their JSON, as the clock runs meanwhile.
struct Lines {
    channel: Finder<'static>,
    offset: Finder<'static>,
    time: Finder<'static>,
}

impl Lines {
    fn new() -> Self {
        let [channel, offset, time] = ["\"channel\":\"", "\"offset\":", "\"t\":"].map(Finder::new);
        Self { channel, offset, time }
    }

    /// Takes the complete frames of `bytes` and says where they end.
    fn take(&self, bytes: &[u8], at: i64, client: &mut Client, seen: &mut Seen) -> anyhow::Result<usize> {
        let mut used = 0;
        while let Some((kind, payload)) = wire::frame(&bytes[used..]) {
            let text = &bytes[used + payload.start..used + payload.end];
            match kind {
                Kind::Text => self.text(text, at, client, seen)?,
                Kind::Close => bail!("disconnected: {}", String::from_utf8_lossy(text.get(2..).unwrap_or_default())),
                Kind::Other => {}
            }
            used += payload.end;
        }
        Ok(used)
    }

    fn text(&self, text: &[u8], at: i64, client: &mut Client, seen: &mut Seen) -> anyhow::Result<()> {
        let mut start = 0;
        for end in memchr_iter(b'\n', text).chain([text.len()]) {
            let line = &text[start..end];
            start = end + 1;
            if line == b"{}" {
                client.stream.write_all(&wire::masked("{}"))?;
            } else if let (Some(offset), Some(time)) = (after(&self.offset, line), after(&self.time, line)) {
                seen.latencies.push(at - time);
                let progress = self.channel(line).and_then(|channel| client.channels.get_mut(&channel));
                let progress = progress.context("a publication of a channel that was not asked for")?;
                progress.sees(u64::try_from(offset)?, &mut seen.faults);
            }
        }
        Ok(())
    }
}

impl Lines {
    /// The number with which the channel's name ends.
    fn channel(&self, line: &[u8]) -> Option<usize> {
        let name = &line[self.channel.find(line)? + self.channel.needle().len()..];
        let name = &name[..memchr(b'"', name)?];
        std::str::from_utf8(&name[memrchr(b'-', name)? + 1..]).ok()?.parse().ok()
    }
}

/// The number that stands behind a name.
fn after(name: &Finder<'_>, line: &[u8]) -> Option<i64> {
    let digits = &line[name.find(line)? + name.needle().len()..];
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

impl Progress {
    fn new() -> Self {
        Self { next: 1, missing: HashSet::new() }
    }

    fn sees(&mut self, offset: u64, faults: &mut Faults) {
        if offset >= self.next {
            self.missing.extend(self.next..offset);
            self.next = offset + 1;
        } else if self.missing.remove(&offset) {
            faults.out_of_order += 1;
        } else {
            faults.repeated += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream as Std};

    use super::*;

    fn client() -> (Client, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::from_std(Std::connect(listener.local_addr().unwrap()).unwrap());
        let channels = [0, 12].into_iter().map(|channel| (channel, Progress::new())).collect();
        (Client { stream, partial: Vec::new(), channels }, listener)
    }

    fn push(channel: usize, offset: u64) -> String {
        format!(
            "{{\"push\":{{\"channel\":\"bench:a-{channel}\",\"pub\":{{\"data\":{{\"t\":40}},\"offset\":{offset}}}}}}}"
        )
    }

    #[test]
    fn publications_are_found_in_whole_frames_only() {
        let ((mut client, _listener), mut seen) = (client(), Seen::default());
        let text = [push(0, 1), "{\"id\":3,\"subscribe\":{}}".to_owned(), push(12, 1), push(0, 2)].join("\n");
        let mut bytes = vec![0x81, 126];
        bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
        let whole = bytes.len();
        bytes.extend([0x81, 50, b'{']);
        assert_eq!(Lines::new().take(&bytes, 100, &mut client, &mut seen).unwrap(), whole);
        assert_eq!((seen.latencies, seen.faults), (vec![60; 3], Faults::default()));
        assert_eq!([0, 12].map(|channel| client.channels[&channel].next), [3, 2]);
        let stranger = wire::masked(&push(7, 1));
        assert_eq!(Lines::new().channel(&stranger), Some(7));
    }

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        let (mut progress, mut faults) = (Progress::new(), Faults::default());
        for offset in [1, 3, 3, 2, 6] {
            progress.sees(offset, &mut faults);
        }
        assert_eq!(faults, Faults { lost: 0, repeated: 1, out_of_order: 1 });
        assert_eq!(progress.missing, HashSet::from([4, 5]));
    }
}
