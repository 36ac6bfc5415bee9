//! Reads one socket: tungstenite with small buffers, its own words (pong, close) sent like all others.
//!
//! Its default read buffer of 128 KiB is filled with zeros before every read: it would cost half of the hub's speed
//! and most of its memory.

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{codes::Disconnect, connection::Connection, hub::Inner, session::Session};

const READ_BUFFER: usize = 512;

/// Serves a socket to its end. `first` are bytes that came together with the upgrade request.
pub(crate) async fn run(hub: Arc<Inner>, connection: Arc<Connection>, first: Bytes) {
    let mut session = Session::new(hub, connection);
    let clean = read(&mut session, first).await;
    if let Err(why) = clean {
        session.connection.close(&why);
        Box::pin(read_away(&session.connection)).await;
    }
    session.connection.cut();
    session.end().await;
}

/// Ends when the peer has gone; fails when it no longer speaks WebSocket.
async fn read(session: &mut Session, first: Bytes) -> Result<(), Disconnect> {
    let most = session.hub.context.config.max_frame_bytes;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(READ_BUFFER)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    let wire = Reading(Arc::clone(&session.connection));
    let mut socket = WebSocketStream::from_partially_read(wire, first.to_vec(), Role::Server, Some(config)).await;
    while let Some(message) = socket.next().await {
        let received = match message {
            Ok(Message::Text(text)) => Bytes::from(text),
            Ok(Message::Binary(bytes)) => bytes,
            Ok(_) => continue,
            Err(error) => return disconnect_for(&error).map_or(Ok(()), Err),
        };
        if session.connection.is_closing() {
            continue; // only the peer's Close is of interest now
        }
        if let Err(why) = session.receive(&received).await {
            session.connection.close(&why);
        }
    }
    Ok(())
}

/// The Close frame that answers a broken stream; `None` if there is nobody left to tell.
fn disconnect_for(error: &Error) -> Option<Disconnect> {
    match error {
        Error::Capacity(_) => Some(Disconnect::TOO_BIG),
        Error::Utf8(_) => Some(Disconnect::NOT_TEXT),
        Error::Protocol(tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(Disconnect::PROTOCOL_ERROR),
        _ => None,
    }
}

/// Reads to the end without looking: closing a socket with unread bytes would destroy the Close frame on its way.
async fn read_away(connection: &Connection) {
    let mut ignored = [0; READ_BUFFER];
    let Some(socket) = connection.wire.socket() else { return };
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut ignored) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// The socket as tungstenite sees it: reads are real, writes join the connection's queue and are never short.
struct Reading(Arc<Connection>);

impl AsyncRead for Reading {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some(socket) = self.0.wire.socket() else { return Poll::Ready(Ok(())) };
            ready!(socket.poll_read_ready(context))?;
            match socket.try_read(buffer.initialize_unfilled()) {
                Ok(read) => {
                    buffer.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Reading {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.control(&Bytes::copy_from_slice(bytes));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
