//! What counts as a message, and how a client that breaks the rules is told.

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::{
    Message,
    client::IntoClientRequest,
    protocol::{
        CloseFrame,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use crate::{TestHub, client::Client, token};

async fn closed_after(text: &str) -> (u16, bool) {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    client.send_text(text).await;
    let mut replied = false;
    loop {
        match client.incoming().await {
            crate::client::Incoming::Object(_) => replied = true,
            crate::client::Incoming::Closed(code, _) => return (code, replied),
            crate::client::Incoming::Cut => panic!("cut"),
        }
    }
}

#[tokio::test]
async fn several_commands_in_a_message_are_answered_in_order() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    client.send_text("{\"id\":2,\"rpc\":{}}\n{\"id\":3,\"rpc\":{}}\n").await;
    assert_eq!(client.next().await["id"], 2);
    assert_eq!(client.next().await["id"], 3);
}

#[tokio::test]
async fn answers_to_thousands_of_commands_in_a_message_come_in_order_to_a_client_that_reads_late() {
    let hub = TestHub::start().await;
    let mut client = Client::open_with_buffer(hub.address, 4 << 10).await;
    let commands = (2..3_000).map(|id| format!("{{\"id\":{id},\"rpc\":{{}}}}"));
    let connect = json!({"id": 1, "connect": {"token": token("7")}}).to_string();
    client.send_text(&[connect].into_iter().chain(commands).collect::<Vec<_>>().join("\n")).await;
    for id in 1..3_000 {
        assert_eq!(client.next().await["id"], id);
    }
}

#[tokio::test]
async fn an_empty_line_ends_the_connection_after_the_commands_before_it() {
    assert_eq!(closed_after("{\"id\":2,\"rpc\":{}}\n\n{\"id\":3,\"rpc\":{}}").await, (3501, true));
    assert_eq!(closed_after("").await, (3501, false));
}

#[tokio::test]
async fn what_is_no_command_ends_the_connection() {
    for bad in ["nonsense", "{\"id\":2}", "{\"id\":2,\"ping\":{}}", "{\"id\":2,\"subscribe\":{}}", "\u{0}"] {
        assert_eq!(closed_after(bad).await, (3501, false), "{bad}");
    }
    assert_eq!(closed_after("{\"send\":{\"data\":1}}").await, (3508, false));
}

/// A connect command with the id 1 and a token, as centrifuge-js writes it in Protobuf.
const CONNECT: &[u8] = &[9, 8, 1, 0x22, 5, 0x0a, 3, b'a', b'b', b'c'];

#[tokio::test]
async fn who_asks_for_protobuf_is_told_that_json_is_spoken() {
    let hub = TestHub::start().await;
    let address = format!("ws://{}/connection/websocket", hub.address);
    let plain = address.clone().into_client_request().unwrap();
    let asked = |query: &str| format!("{address}?{query}").into_client_request().unwrap();
    let mut subprotocol = plain.clone();
    subprotocol.headers_mut().insert("sec-websocket-protocol", "centrifuge-protobuf".parse().unwrap());
    let said = [
        (plain, true),
        (subprotocol, false),
        (asked("format=protobuf"), false),
        (asked("a=b&cf_protocol=protobuf"), true),
    ];
    for (request, says_something) in said {
        let stream = TcpStream::connect(hub.address).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        if says_something {
            socket.send(Message::binary(CONNECT)).await.unwrap();
        }
        let Some(Ok(Message::Close(Some(frame)))) = socket.next().await else { panic!("no Close frame") };
        assert_eq!(u16::from(frame.code), 3508);
        assert!(frame.reason.contains("speaks JSON, not Protobuf"), "{}", frame.reason);
    }
    // The same bytes are nonsense from a client that has spoken JSON before, and JSON in a binary message is JSON.
    let (mut client, _) = hub.connect("7").await;
    client.socket.send(Message::binary(CONNECT)).await.unwrap();
    assert_eq!(client.closed().await.0, 3501);
    let mut client = hub.open().await;
    let connect = json!({"id": 1, "connect": {"token": token("7")}}).to_string();
    client.socket.send(Message::binary(connect.into_bytes())).await.unwrap();
    assert!(client.next().await["connect"].is_object());
}

#[tokio::test]
async fn a_message_over_64_kib_ends_with_1009() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    let reply = client.ask(json!({"id": 2, "rpc": {"data": "x".repeat(60_000)}})).await;
    assert_eq!(reply["error"]["code"], 108);
    client.send(&json!({"id": 3, "rpc": {"data": "x".repeat(70_000)}})).await;
    assert_eq!(client.closed().await.0, 1009);
}

#[tokio::test]
async fn broken_websocket_frames_end_with_their_code() {
    let hub = TestHub::start().await;
    for (bytes, code) in [
        (vec![0x81, 2, b'{', b'}'], 1002),                      // not masked
        (vec![0xf1, 0x80, 0, 0, 0, 0], 1002),                   // reserved bits
        (vec![0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),             // not UTF-8
        (vec![0x80, 0x80, 0, 0, 0, 0], 1002),                   // continues nothing
        (vec![0x09, 0x80, 0, 0, 0, 0], 1002),                   // a ping in parts
        (vec![0x83, 0x80, 0, 0, 0, 0], 1002),                   // an unknown opcode
        (vec![0x81, 0xfe, 0, 2, 0, 0, 0, 0, b'{', b'}'], 1002), // a length in the wrong form
        (vec![0x88, 0x82, 0, 0, 0, 0, 3, 237], 1002),           // a code that nobody may send
        (vec![0x81, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0], 1009), // longer than memory
    ] {
        let (mut client, _) = hub.connect("7").await;
        client.socket.get_mut().write_all(&bytes).await.unwrap();
        assert_eq!(client.closed().await.0, code, "{bytes:?}");
    }
}

#[tokio::test]
async fn a_line_break_inside_data_does_not_leave_the_hub() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    let row = protocol::Command::parse("publish", "{\"channel\":\"user:7\",\"data\":{\n\"a\":\n1}}").unwrap();
    hub.execute(row).await;
    assert_eq!(client.next().await, json!({"push": {"channel": "user:7", "pub": {"data": {"a": 1}}}}));
}

/// A part of a text message; the client's library masks it.
fn part(kind: Data, last: bool, text: &str) -> Message {
    Message::Frame(Frame::message(text.to_owned(), OpCode::Data(kind), last))
}

#[tokio::test]
async fn a_message_may_come_in_parts_and_a_ping_between_them_is_answered_first() {
    let hub = TestHub::start().await;
    let (mut client, _) = hub.connect("7").await;
    client.socket.send(part(Data::Text, false, "{\"id\":2,\"r")).await.unwrap();
    client.socket.send(Message::Ping("are you there?".into())).await.unwrap();
    client.socket.send(part(Data::Continue, false, "")).await.unwrap();
    client.socket.send(part(Data::Continue, true, "pc\":{}}")).await.unwrap();
    assert_eq!(client.socket.next().await.unwrap().unwrap(), Message::Pong("are you there?".into()));
    assert_eq!(client.next().await["id"], 2);
}

#[tokio::test]
async fn a_client_that_goes_is_answered_with_its_own_code() {
    let hub = TestHub::start().await;
    for close in [None, Some(CloseFrame { code: 4001.into(), reason: "enough".into() })] {
        let (mut client, _) = hub.connect("7").await;
        client.socket.send(Message::Close(close.clone())).await.unwrap();
        assert_eq!(client.socket.next().await.unwrap().unwrap(), Message::Close(close));
        assert!(client.socket.next().await.is_none(), "the hub ends the socket");
    }
}

#[tokio::test]
async fn what_comes_together_with_the_upgrade_request_is_not_lost() {
    let hub = TestHub::start().await;
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    let request = "GET /connection/websocket HTTP/1.1\r\nhost: hub\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let ping = [0x89, 0x82, 0, 0, 0, 0, b'h', b'i'];
    // The end of the second ping comes later.
    stream.write_all(&[request.as_bytes(), &ping, &ping[..7]].concat()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(&[0x8a, 2, b'h', b'i']) {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the hub hung up");
    }
    stream.write_all(&ping[7..]).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [0x8a, 2, b'h', b'i']);
}
