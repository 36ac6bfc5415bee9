//! A broker that has just started: it answers, and does not count itself among the brokers yet. The real one is in this
//! state for a few milliseconds at each start, which no test could meet on purpose; this one stays in it.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
/// The newest version of `METADATA` that is as plain as this.
const PLAIN: i16 = 4;
const UNSUPPORTED_VERSION: i16 = 35;
const LEADER_NOT_AVAILABLE: i16 = 5;

/// Listens until it is dropped, in place of a broker that does not run.
pub(crate) struct Starting {
    told: Arc<watch::Sender<BTreeSet<(String, String)>>>,
    listening: JoinHandle<()>,
}

impl Starting {
    pub(crate) async fn at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let told = Arc::<watch::Sender<_>>::default();
        let listening = tokio::spawn(listen(listener, Arc::clone(&told)));
        Self { told, listening }
    }

    /// Until clients of this name, having asked for this topic, have been told that there is no broker at all.
    pub(crate) async fn has_told(&self, client: &str, topic: &str) {
        let wanted = (client.to_owned(), topic.to_owned());
        let mut told = self.told.subscribe();
        let there = timeout(Duration::from_secs(30), told.wait_for(|told| told.contains(&wanted))).await;
        assert!(there.is_ok(), "{wanted:?} is not among {:?}", *self.told.borrow());
    }

    /// Leaves the place to the real one.
    pub(crate) async fn end(mut self) {
        self.listening.abort();
        let _ = (&mut self.listening).await;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(listener: TcpListener, told: Arc<watch::Sender<BTreeSet<(String, String)>>>) {
    let mut clients = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        clients.spawn(serve(client, Arc::clone(&told)));
    }
}

async fn serve(mut client: TcpStream, told: Arc<watch::Sender<BTreeSet<(String, String)>>>) -> io::Result<()> {
    loop {
        let mut request = vec![0; client.read_u32().await?.try_into().unwrap()];
        client.read_exact(&mut request).await?;
        let mut request = request.as_slice();
        let (api, version) = (request.read_i16().await?, request.read_i16().await?);
        let mut answer = request.read_i32().await?.to_be_bytes().to_vec();
        match (api, version) {
            (API_VERSIONS, version) => {
                let error = if version == 0 { 0 } else { UNSUPPORTED_VERSION };
                answer.extend(error.to_be_bytes());
                answer.extend(2_i32.to_be_bytes());
                for (api, newest) in [(API_VERSIONS, 0), (METADATA, PLAIN)] {
                    [api, 0, newest].map(i16::to_be_bytes).iter().for_each(|number| answer.extend(number));
                }
            }
            (METADATA, PLAIN) => {
                let name = text(&mut request).await?;
                let mut topics = Vec::new();
                for _ in 0..request.read_i32().await? {
                    topics.push(text(&mut request).await?);
                }
                // Not throttled, no broker, no name of the cluster, no controller.
                answer.extend(0_i32.to_be_bytes());
                answer.extend(0_i32.to_be_bytes());
                answer.extend((-1_i16).to_be_bytes());
                answer.extend((-1_i32).to_be_bytes());
                answer.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
                for topic in &topics {
                    answer.extend(LEADER_NOT_AVAILABLE.to_be_bytes());
                    answer.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
                    answer.extend(topic.as_bytes());
                    answer.push(0); // no internal one
                    answer.extend(0_i32.to_be_bytes()); // no partition
                }
                told.send_modify(|told| told.extend(topics.into_iter().map(|topic| (name.clone(), topic))));
            }
            _ => continue,
        }
        client.write_u32(answer.len().try_into().unwrap()).await?;
        client.write_all(&answer).await?;
    }
}

async fn text(request: &mut &[u8]) -> io::Result<String> {
    let mut text = vec![0; request.read_i16().await?.try_into().unwrap_or(0)];
    request.read_exact(&mut text).await?;
    Ok(String::from_utf8(text).unwrap())
}
