//! Three ports, and whether the broker answers on its.

use std::{net::TcpListener, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::error::{Error, While};

/// From 32768 on the system takes ports for outgoing connections, so that a server that stops might not get its port back.
const LISTEN: std::ops::Range<u16> = 20_000..32_768;

/// Where the stack listens, for as long as it lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) kafka: u16,
    pub(super) controller: u16,
    pub(super) connect: u16,
}

impl Ports {
    /// 0 means a free one.
    pub(super) fn choose(kafka: u16, connect: u16) -> Result<Self, Error> {
        let mut held = Vec::new(); // until all are chosen, so that they differ
        let mut choose = |given: u16| if given == 0 { free(&mut held) } else { Ok(given) };
        Ok(Self { kafka: choose(kafka)?, controller: choose(0)?, connect: choose(connect)? })
    }

    /// Asks the broker for the versions it speaks, which it answers when it is up.
    pub(super) async fn kafka_answers(self) -> bool {
        // length 10, api 18 version 0, correlation 1, no client id
        const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
        let ask = async {
            let mut broker = TcpStream::connect(("127.0.0.1", self.kafka)).await?;
            broker.write_all(&QUESTION).await?;
            broker.read_u32().await
        };
        matches!(timeout(Duration::from_secs(2), ask).await, Ok(Ok(_)))
    }
}

fn free(held: &mut Vec<TcpListener>) -> Result<u16, Error> {
    let mut tries = 200;
    loop {
        let port = rand::random_range(LISTEN);
        match TcpListener::bind(("127.0.0.1", port)) {
            Ok(socket) => {
                held.push(socket);
                return Ok(port);
            }
            Err(error) if tries == 0 => return Err(error).when(|| format!("find a free port in {LISTEN:?}")),
            Err(_) => tries -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_a_given_one_is_used() {
        let ports = Ports::choose(0, 8083).unwrap();
        assert_eq!(ports.connect, 8083);
        assert_ne!(ports.kafka, ports.controller);
        assert!(LISTEN.contains(&ports.kafka) && LISTEN.contains(&ports.controller));
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_does_not_answer() {
        assert!(!Ports::choose(0, 0).unwrap().kafka_answers().await);
    }
}
