//! What stands before several hubs: gives each connection to the next of them that takes it.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// The proxy. Ends with its connections when dropped.
pub struct Proxy {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Before the servers at these `host:port`, of which some may be away.
    pub async fn before(servers: Vec<String>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let servers: Arc<[String]> = servers.into();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for turn in 0_usize.. {
                let Ok((client, _)) = listener.accept().await else { return };
                connections.spawn(pass(client, Arc::clone(&servers), turn));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, _tasks: tasks })
    }

    /// `host:port` for those who come in.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

async fn pass(mut client: TcpStream, servers: Arc<[String]>, turn: usize) {
    for number in turn..turn + servers.len() {
        if let Ok(mut server) = TcpStream::connect(&servers[number % servers.len()]).await {
            // Whoever ends it, it has ended.
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
