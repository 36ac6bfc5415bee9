//! Reads one socket. A connection that says nothing has no buffer: what comes is read into the thread's, and only what
//! makes no whole frame yet, or stands behind a message that is still worked on, is kept with the connection.

use std::{
    cell::RefCell,
    future::poll_fn,
    io::ErrorKind,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{net::TcpStream, task::yield_now};

use crate::{
    codes::Disconnect,
    connection::Connection,
    decoder::{Broken, Decoder, Event},
    frame,
    hub::Inner,
    session::Session,
};

/// Commands are small; a longer message takes several reads.
const BUFFER: usize = 16 << 10;

thread_local! {
    /// Shared by the thread's connections: used between two awaits, never across one.
    static READ: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER].into());
}

/// What to do next.
enum Step {
    Handle(Vec<u8>),
    /// The peer has gone, or has said that it goes.
    End,
}

struct Reader {
    session: Session,
    decoder: Decoder,
    /// What has come and was not decoded.
    rest: Vec<u8>,
}

/// Serves a socket to its end. `first` are bytes that came together with the upgrade request.
pub(crate) async fn run(hub: Arc<Inner>, connection: Arc<Connection>, first: Vec<u8>) {
    let decoder = Decoder::new(hub.context.config.max_frame_bytes).inflating(connection.wire.deflates());
    let mut reader = Reader { session: Session::new(hub, connection), decoder, rest: first };
    if let Err(why) = reader.read().await {
        reader.session.connection.close(&why);
        read_away(&reader.session.connection).await;
    }
    reader.session.connection.cut();
    Box::pin(reader.session.end()).await;
}

impl Reader {
    /// Ends when the peer has gone; fails when it no longer speaks WebSocket.
    async fn read(&mut self) -> Result<(), Disconnect> {
        loop {
            match poll_fn(|context| self.poll_step(context)).await? {
                // Boxed: what handles a command must not make every waiting connection large.
                Step::Handle(message) => Box::pin(self.handle(&message)).await,
                Step::End => return Ok(()),
            }
        }
    }

    /// Answers to the commands of one message go out together.
    async fn handle(&mut self, message: &[u8]) {
        let connection = Arc::clone(&self.session.connection);
        let received = self.session.receive(message);
        let received = if message.contains(&b'\n') { together(&connection, received).await } else { received.await };
        if let Err(why) = received {
            connection.close(&why);
        }
    }

    fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Result<Step, Disconnect>> {
        if !self.rest.is_empty()
            && let Some(step) = self.take(&mut [])?
        {
            return Poll::Ready(Ok(step));
        }
        let connection = Arc::clone(&self.session.connection);
        let Some(socket) = connection.wire.socket() else { return Poll::Ready(Ok(Step::End)) };
        loop {
            if ready!(socket.poll_read_ready(context)).is_err() {
                return Poll::Ready(Ok(Step::End));
            }
            if let Some(step) = READ.with_borrow_mut(|buffer| self.read_into(buffer, socket))? {
                return Poll::Ready(Ok(step));
            }
        }
    }

    /// `None` if more has to come first.
    fn read_into(&mut self, buffer: &mut [u8], socket: &TcpStream) -> Result<Option<Step>, Disconnect> {
        match socket.try_read(buffer) {
            Ok(0) => Ok(Some(Step::End)),
            Ok(count) => self.take(&mut buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(_) => Ok(Some(Step::End)),
        }
    }

    /// Decodes what is kept and what has come, up to the next message.
    fn take(&mut self, fresh: &mut [u8]) -> Result<Option<Step>, Disconnect> {
        if self.rest.is_empty() {
            let (used, step) = self.decode(fresh)?;
            self.rest.extend_from_slice(&fresh[used..]);
            return Ok(step);
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(fresh);
        let (used, step) = self.decode(&mut rest)?;
        if used < rest.len() {
            rest.drain(..used);
            self.rest = rest;
        }
        Ok(step)
    }

    /// Answers what WebSocket itself asks, up to the next message. Says how many bytes that took.
    fn decode(&mut self, bytes: &mut [u8]) -> Result<(usize, Option<Step>), Disconnect> {
        let mut used = 0;
        while let Some((length, event)) = self.decoder.step(&mut bytes[used..])? {
            used += length;
            let connection = &self.session.connection;
            match event {
                // Only the peer's Close is of interest to a connection that is being closed.
                Event::Message(message) if !connection.is_closing() => {
                    return Ok((used, Some(Step::Handle(message.into_owned()))));
                }
                Event::Message(_) | Event::Fragment | Event::Pong => {}
                Event::Ping(payload) => connection.control(&frame::pong(payload)),
                Event::Close(payload) => {
                    connection.control(&frame::close_with(payload));
                    return Ok((used, Some(Step::End)));
                }
            }
        }
        Ok((used, None))
    }
}

/// Gathers what is sent meanwhile, for as long as the thread gets on with it in each of its rounds: an answer that has
/// to be waited for holds up no other.
async fn together<T>(connection: &Arc<Connection>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut gathered = 0;
    connection.gather();
    loop {
        tokio::select! {
            biased;
            done = &mut work => {
                connection.send_gathered();
                return done;
            }
            () = yield_now() => {
                let before = std::mem::replace(&mut gathered, connection.gathered());
                if before == gathered {
                    connection.send_gathered();
                    return work.await;
                }
            }
        }
    }
}

impl From<Broken> for Disconnect {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Rule | Broken::Length => Self::PROTOCOL_ERROR,
            Broken::NotText => Self::NOT_TEXT,
            Broken::TooBig => Self::TOO_BIG,
        }
    }
}

/// Reads to the end without looking: closing a socket with unread bytes would destroy the Close frame on its way.
async fn read_away(connection: &Connection) {
    let Some(socket) = connection.wire.socket() else { return };
    while poll_fn(|context| socket.poll_read_ready(context)).await.is_ok() {
        match READ.with_borrow_mut(|buffer| socket.try_read(buffer)) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}
