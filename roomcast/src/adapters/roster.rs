//! Which hubs there are: those that were named, and those that a name stands for at present.
//!
//! A name is looked up again and again, so that hubs may come and go. One that has gone from the name holds nobody up; one
//! that has come is delivered to within [`LOOK_AGAIN`], before which it should take no sockets (`--sockets-after`).

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use tokio::{net::lookup_host, sync::watch, task::JoinSet};
use tracing::{info, warn};

/// How old an answer may be.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The hubs to deliver to.
pub(super) struct Roster {
    origins: Vec<String>,
    names: Vec<Name>,
    /// Ends with this.
    _looking: JoinSet<()>,
}

/// A name and the origins of what it stands for. None: nobody has answered yet.
struct Name {
    name: String,
    origins: watch::Receiver<Option<Vec<String>>>,
}

impl Roster {
    /// Origins stay what they are, `dns+http://name:port` is looked up from now on.
    pub(super) fn of(hubs: &[String]) -> Self {
        let mut looking = JoinSet::new();
        let (mut origins, mut names) = (Vec::new(), Vec::new());
        for hub in hubs {
            match hub.strip_prefix("dns+http://") {
                None => origins.push(hub.clone()),
                Some(name) => {
                    let (tell, origins) = watch::channel(None);
                    looking.spawn(look(name.to_owned(), tell));
                    names.push(Name { name: name.to_owned(), origins });
                }
            }
        }
        Self { origins, names, _looking: looking }
    }

    /// All of them as origins, or why that cannot be said.
    pub(super) fn present(&self) -> Result<Vec<String>, String> {
        let mut present = self.origins.clone();
        for name in &self.names {
            match &*name.origins.borrow() {
                Some(origins) => present.extend_from_slice(origins),
                None => return Err(format!("no hub is known by the name {} yet", name.name)),
            }
        }
        Ok(present)
    }
}

/// What a name stood for last holds until there is another answer: a name server may be away for a moment.
async fn look(name: String, tell: watch::Sender<Option<Vec<String>>>) {
    let mut before: Option<BTreeSet<SocketAddr>> = None;
    let mut lost = false;
    loop {
        match lookup(&name).await {
            Ok(found) => {
                lost = false;
                if before.as_ref() != Some(&found) {
                    info!(?found, "{} hubs are known by the name {name}", found.len());
                    tell.send_replace(Some(found.iter().map(|address| format!("http://{address}")).collect()));
                    before = Some(found);
                }
            }
            Err(error) if !lost => {
                lost = true;
                warn!(%error, "no hub is known by the name {name} at the moment");
            }
            Err(_) => {}
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn lookup(name: &str) -> io::Result<BTreeSet<SocketAddr>> {
    let found: BTreeSet<SocketAddr> = lookup_host(name).await?.collect();
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_stands_for_its_addresses_and_an_origin_for_itself() {
        let roster = Roster::of(&["http://one:8001".to_owned(), "dns+http://127.0.0.1:8002".to_owned()]);
        let present = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                match roster.present() {
                    Ok(present) => return present,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        assert_eq!(present.await.unwrap(), ["http://one:8001", "http://127.0.0.1:8002"]);
    }

    #[tokio::test]
    async fn nothing_is_said_of_a_name_before_it_was_answered() {
        let roster = Roster::of(&["dns+http://no-such-host.invalid:8001".to_owned()]);
        assert!(roster.present().unwrap_err().contains("no-such-host"));
    }
}
