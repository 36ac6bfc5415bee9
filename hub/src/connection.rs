//! One socket. Every byte to the client passes [`Connection::write`], under one lock, so frames never interleave.
//!
//! A frame is written at once, by whoever has it, without waiting. Only what the kernel does not take is queued, and
//! only then does a flusher exist. The queue is bounded in bytes: a client that does not read is closed with 3008 and
//! recovers by offset. Until the connect reply is out, pushes are held back.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, IoSlice},
    net::Shutdown,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::{net::TcpStream, runtime};
use uuid::Uuid;

use crate::{codes::Disconnect, frame, heartbeat::Pulse, metrics, standing::Standing, wire::Wire};

/// How many queued frames one write takes.
const VECTORS: usize = 64;
/// So many bytes are worth a write of their own.
const MOST_GATHERED: usize = 16 << 10;

/// Identity of a connection within this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId(pub(crate) u64);

/// What a connection needs to know about its hub.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) queue_bytes: usize,
    pub(crate) close_wait: Duration,
}

pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// What the client is told to be called.
    pub(crate) client: Uuid,
    pub(crate) wire: Wire,
    /// The home shard's runtime, on which reader and flusher live.
    home: runtime::Handle,
    limits: Limits,
    out: Mutex<Out>,
    /// Whose it is, once the connect command has said so.
    identity: OnceLock<Identity>,
    /// What it hears.
    pub(crate) standing: Mutex<Standing>,
    /// When it has to be pinged, or given up.
    pub(crate) pulse: Mutex<Pulse>,
}

struct Identity {
    user: Arc<str>,
    /// JSON that others see of the connection.
    info: Option<Arc<str>>,
}

struct Out {
    flow: Flow,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// The configured limit, and room for the largest reply on top of it: a client that comes back after a long time
    /// must not be closed for being given what it missed.
    limit: usize,
    /// The first in the queue is the rest of something that has been sent in part.
    torn: bool,
    flushing: bool,
    /// What is sent waits for [`Connection::send_gathered`].
    gathering: bool,
}

enum Flow {
    /// The connect reply is not out: pushes wait here.
    Held {
        pushes: Vec<Bytes>,
        bytes: usize,
    },
    Open,
    /// A Close frame is the last thing that was sent or queued.
    Closing,
    Cut,
}

/// Do the bytes count against the limit, or does it make room for them?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    Counted,
    Raised,
}

impl Connection {
    pub(crate) fn new(id: ConnectionId, wire: Wire, home: runtime::Handle, limits: Limits, pulse: Pulse) -> Self {
        let out = Out {
            flow: Flow::Held { pushes: Vec::new(), bytes: 0 },
            queue: VecDeque::new(),
            queued: 0,
            limit: limits.queue_bytes,
            torn: false,
            flushing: false,
            gathering: false,
        };
        Self {
            id,
            client: Uuid::new_v4(),
            wire,
            home,
            limits,
            out: Mutex::new(out),
            identity: OnceLock::new(),
            standing: Mutex::default(),
            pulse: Mutex::new(pulse),
        }
    }

    /// The connect command has said whose it is.
    pub(crate) fn identify(&self, user: Arc<str>, info: Option<Arc<str>>) {
        // A connection connects once.
        self.identity.set(Identity { user, info }).ok();
    }

    /// Whose it is; empty while that is not known, and for nobody in particular.
    pub(crate) fn user(&self) -> &str {
        self.identity.get().map_or("", |identity| &identity.user)
    }

    /// The connection in a channel, where it has `info`, as JSON for others.
    pub(crate) fn as_others_see_it(&self, info: Option<&str>) -> Bytes {
        let own = self.identity.get().and_then(|identity| identity.info.as_deref());
        frame::client_info(self.user(), &self.client.to_string(), own, info)
    }

    /// Sends frames of a channel: after the connect reply, and in the order of the calls.
    pub(crate) fn push(self: &Arc<Self>, frames: &Bytes) {
        self.push_locked(&mut self.out.lock(), frames);
    }

    /// The same, but what is sent waits for more; true if the caller owes [`Connection::send_gathered`] from now on.
    pub(crate) fn push_gathering(self: &Arc<Self>, frames: &Bytes) -> bool {
        let mut out = self.out.lock();
        let begins = !out.gathering && matches!(out.flow, Flow::Open) && self.wire.socket().is_some();
        out.gathering |= begins;
        self.push_locked(&mut out, frames);
        begins
    }

    /// Sends what WebSocket itself has to say: a pong, or the answer to the peer's Close.
    pub(crate) fn control(self: &Arc<Self>, frame: &Bytes) {
        let mut out = self.out.lock();
        if matches!(out.flow, Flow::Open | Flow::Held { .. }) {
            self.write(&mut out, frame, Limit::Counted);
        }
    }

    /// Sends a reply. It does not wait for the connect reply.
    pub(crate) fn reply(self: &Arc<Self>, frame: &Bytes) {
        let mut out = self.out.lock();
        if matches!(out.flow, Flow::Open | Flow::Held { .. }) {
            self.write(&mut out, frame, Limit::Raised);
        }
    }

    /// Sends the connect reply and, behind it, the pushes that waited for it.
    pub(crate) fn open(self: &Arc<Self>, connect_reply: &Bytes) {
        let mut out = self.out.lock();
        if !matches!(out.flow, Flow::Held { .. }) {
            return;
        }
        let Flow::Held { pushes, .. } = std::mem::replace(&mut out.flow, Flow::Open) else { return };
        self.write(&mut out, connect_reply, Limit::Raised);
        for push in pushes {
            self.write(&mut out, &push, Limit::Counted);
        }
    }

    /// From now on what is sent waits for the rest, to go out in one write.
    pub(crate) fn gather(&self) {
        self.out.lock().gathering = true;
    }

    /// How much waits.
    pub(crate) fn gathered(&self) -> usize {
        self.out.lock().queued
    }

    /// Sends what has waited; what comes from now on is sent at once again.
    pub(crate) fn send_gathered(self: &Arc<Self>) {
        let mut out = self.out.lock();
        out.gathering = false;
        self.write_queued(&mut out);
    }

    /// Sends a Close frame behind what is queued. The socket is cut when the peer has answered, or after a while.
    pub(crate) fn close(self: &Arc<Self>, why: &Disconnect) {
        self.close_locked(&mut self.out.lock(), why);
    }

    /// Ends the socket now, whatever is on its way. Wakes the reader, which cleans up.
    pub(crate) fn cut(&self) {
        self.cut_locked(&mut self.out.lock());
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.out.lock().flow, Flow::Closing | Flow::Cut)
    }

    fn push_locked(self: &Arc<Self>, out: &mut Out, frames: &Bytes) {
        match &mut out.flow {
            Flow::Open => self.write(out, frames, Limit::Counted),
            Flow::Held { pushes, bytes } => {
                *bytes += frames.len();
                if *bytes > self.limits.queue_bytes {
                    return self.close_locked(out, &Disconnect::SLOW);
                }
                pushes.push(frames.clone());
            }
            Flow::Closing | Flow::Cut => {}
        }
    }

    fn write(self: &Arc<Self>, out: &mut Out, bytes: &Bytes, limit: Limit) {
        if matches!(out.flow, Flow::Cut) {
            return;
        }
        let socket = match &self.wire {
            Wire::Socket { stream, .. } => stream,
            Wire::Body(body) => return self.enqueue(out, body.framing.translate(bytes), limit),
        };
        if out.gathering || !out.queue.is_empty() {
            return self.enqueue(out, bytes.clone(), limit);
        }
        match socket.try_write(bytes) {
            Ok(sent) if sent == bytes.len() => {}
            Ok(sent) => {
                out.torn = sent > 0;
                self.enqueue(out, bytes.slice(sent..), limit);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.enqueue(out, bytes.clone(), limit),
            Err(_) => self.cut_locked(out),
        }
    }

    fn enqueue(self: &Arc<Self>, out: &mut Out, bytes: Bytes, limit: Limit) {
        out.queued += bytes.len();
        if limit == Limit::Raised {
            out.limit = out.limit.max(self.limits.queue_bytes + bytes.len());
        }
        out.queue.push_back(bytes);
        if out.gathering && !out.flushing {
            // Nobody is slow before a write has said so.
            if out.queued >= MOST_GATHERED {
                self.write_queued(out);
            }
            return;
        }
        if out.queued > out.limit {
            return self.close_locked(out, &Disconnect::SLOW);
        }
        if let Some(body) = self.wire.body() {
            body.written.notify_one();
        } else if !out.flushing {
            out.flushing = true;
            self.home.spawn(flush(Arc::clone(self)));
        }
    }

    fn close_locked(self: &Arc<Self>, out: &mut Out, why: &Disconnect) {
        if matches!(out.flow, Flow::Closing | Flow::Cut) {
            return;
        }
        out.flow = Flow::Closing;
        metrics::disconnected(why.code);
        if *why == Disconnect::SLOW {
            out.forget_whole_frames();
        }
        self.write(out, &frame::close(why), Limit::Raised);
        self.home.spawn(cut_later(Arc::downgrade(self), self.limits.close_wait));
    }

    fn cut_locked(&self, out: &mut Out) {
        if !matches!(out.flow, Flow::Cut) {
            out.flow = Flow::Cut;
            out.queue = VecDeque::new();
            out.queued = 0;
            match &self.wire {
                // Fails only if the peer has gone first, which is what it is for.
                Wire::Socket { stream, .. } => drop(SockRef::from(stream).shutdown(Shutdown::Both)),
                Wire::Body(body) => body.end(),
            }
        }
    }

    /// What the body of a response goes on with; `None` at its end.
    pub(crate) async fn next_chunk(&self) -> Option<Bytes> {
        let body = self.wire.body()?;
        loop {
            {
                let mut out = self.out.lock();
                if !out.queue.is_empty() {
                    out.queued = 0;
                    out.limit = self.limits.queue_bytes;
                    return Some(out.queue.drain(..).collect::<Vec<_>>().concat().into());
                }
                if matches!(out.flow, Flow::Closing | Flow::Cut) {
                    return None;
                }
            }
            body.written.notified().await;
        }
    }

    /// Writes what is queued; what the kernel does not take is left to a flusher.
    fn write_queued(self: &Arc<Self>, out: &mut Out) {
        if let Some(socket) = self.wire.socket()
            && !out.flushing
            && !self.drain(socket, out)
        {
            out.flushing = true;
            self.home.spawn(flush(Arc::clone(self)));
        }
    }

    /// Writes what is queued; true when nothing is left to do.
    fn drain(&self, socket: &TcpStream, out: &mut Out) -> bool {
        while !out.queue.is_empty() {
            match out.write_queued(socket) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => self.cut_locked(out),
            }
        }
        out.queue = VecDeque::new();
        out.limit = self.limits.queue_bytes;
        out.torn = false;
        out.flushing = false;
        true
    }
}

impl Out {
    /// Only what has been sent in part must still be sent to its end: a frame has no other.
    fn forget_whole_frames(&mut self) {
        self.queue.truncate(usize::from(self.torn));
        self.queued = self.queue.front().map_or(0, Bytes::len);
    }

    fn write_queued(&mut self, socket: &TcpStream) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); VECTORS];
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        let mut sent = socket.try_write_vectored(&slices[..count])?;
        self.queued -= sent;
        while let Some(first) = self.queue.front_mut().filter(|_| sent > 0) {
            let whole = first.len() <= sent;
            self.torn = !whole;
            if whole {
                sent -= first.len();
                self.queue.pop_front();
            } else {
                first.advance(sent);
                sent = 0;
            }
        }
        Ok(())
    }
}

/// Lives only while the socket is blocked.
async fn flush(connection: Arc<Connection>) {
    let Some(socket) = connection.wire.socket() else { return };
    while socket.writable().await.is_ok() {
        if connection.drain(socket, &mut connection.out.lock()) {
            return;
        }
    }
}

async fn cut_later(connection: std::sync::Weak<Connection>, wait: Duration) {
    tokio::time::sleep(wait).await;
    if let Some(connection) = connection.upgrade() {
        connection.cut();
    }
}
