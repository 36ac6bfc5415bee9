//! A strict client: one object after the other, pings answered, Close codes seen.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    received: VecDeque<Value>,
    /// Pings are answered unless a test wants to see them.
    pub(crate) answers_pings: bool,
}

/// What comes from the hub.
#[derive(Debug)]
pub(crate) enum Incoming {
    Object(Value),
    Closed(u16, String),
    /// The socket ended without a Close frame.
    Cut,
}

impl Client {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), address).await
    }

    /// A client whose kernel takes only so many bytes ahead.
    pub(crate) async fn open_with_buffer(address: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Self::over(socket.connect(address).await.unwrap(), address).await
    }

    async fn over(stream: TcpStream, address: SocketAddr) -> Self {
        let (socket, _) = client_async(format!("ws://{address}/connection/websocket"), stream).await.unwrap();
        Self { socket, received: VecDeque::new(), answers_pings: true }
    }

    pub(crate) async fn send(&mut self, command: &Value) {
        self.send_text(&command.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next object, ping or end.
    pub(crate) async fn incoming(&mut self) -> Incoming {
        loop {
            if let Some(object) = self.received.pop_front() {
                if self.answers_pings && object == json!({}) {
                    self.send(&json!({})).await;
                    continue;
                }
                return Incoming::Object(object);
            }
            match timeout(PATIENCE, self.socket.next()).await.expect("nothing came") {
                Some(Ok(Message::Text(text))) => {
                    self.received.extend(text.split('\n').map(|line| serde_json::from_str(line).expect("JSON")));
                }
                Some(Ok(Message::Close(Some(frame)))) => {
                    return Incoming::Closed(frame.code.into(), frame.reason.to_string());
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Incoming::Cut,
            }
        }
    }

    /// The next object that is no ping.
    pub(crate) async fn next(&mut self) -> Value {
        match self.incoming().await {
            Incoming::Object(object) => object,
            end => panic!("the connection ended: {end:?}"),
        }
    }

    /// Sends a command and returns its reply; pushes that come before it are put aside.
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        self.send(&command).await;
        let mut pushes = VecDeque::new();
        let reply = loop {
            let object = self.next().await;
            if object["id"] == command["id"] {
                break object;
            }
            pushes.push_back(object);
        };
        pushes.append(&mut self.received);
        self.received = pushes;
        reply
    }

    /// The next publication's channel and offset (0 where nobody counts).
    pub(crate) async fn publication(&mut self) -> (String, u64) {
        let push = self.push().await;
        assert!(push["pub"].is_object(), "{push}");
        (push["channel"].as_str().unwrap().to_owned(), push["pub"]["offset"].as_u64().unwrap_or(0))
    }

    /// The offsets of the next publications.
    pub(crate) async fn offsets(&mut self, count: usize) -> Vec<u64> {
        let mut offsets = Vec::new();
        while offsets.len() < count {
            offsets.push(self.publication().await.1);
        }
        offsets
    }

    /// Like [`Client::offsets`], for publications that may have to be fetched by the hub first: those that do not
    /// come soon are left for later.
    pub(crate) async fn offsets_known_to_come(&mut self, count: usize) -> Vec<u64> {
        let mut offsets = Vec::new();
        while offsets.len() < count {
            match timeout(Duration::from_millis(50), self.publication()).await {
                Ok((_, offset)) => offsets.push(offset),
                Err(_) => break,
            }
        }
        offsets
    }

    /// The next push.
    pub(crate) async fn push(&mut self) -> Value {
        let object = self.next().await;
        assert!(object["push"].is_object(), "{object}");
        object["push"].clone()
    }

    /// Waits for the end: the code and reason of the Close frame. What comes before is ignored.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.incoming().await {
                Incoming::Object(_) => {}
                Incoming::Closed(code, reason) => return (code, reason),
                Incoming::Cut => panic!("the socket was cut without a Close frame"),
            }
        }
    }
}
