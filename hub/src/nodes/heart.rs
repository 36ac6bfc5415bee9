//! The heartbeat: every node says now and then that it is there, and how it is.

use std::sync::Weak;

use tokio::time::sleep;
use tracing::{info, warn};

use super::{Nodes, message::Message, roster::Here};
use crate::hub::Inner;

/// Ends when the hub stops, or is no more.
pub(super) async fn beat(hub: Weak<Inner>) {
    let mut away = false;
    loop {
        let Some(hub) = hub.upgrade() else { return };
        let Some(nodes) = &hub.context.nodes else { return };
        let said = nodes.voice.say(&nodes.id.to_string(), &Message::Here(hub.here().await)).await;
        match &said {
            Ok(()) if away => info!("the bus between the nodes is back"),
            Err(error) if !away => {
                let error = error as &dyn std::error::Error;
                warn!(error, "the bus between the nodes is away: clients stay, and what concerns all nodes fails");
            }
            _ => {}
        }
        away = said.is_err();
        if !rest(&hub, nodes).await {
            return;
        }
    }
}

/// Waits for the next heartbeat's time, or for somebody new; false when there is no next.
async fn rest(hub: &Inner, nodes: &Nodes) -> bool {
    tokio::select! {
        () = hub.context.stopping.cancelled() => false,
        () = sleep(nodes.roster.beat()) => true,
        () = nodes.newcomer.notified() => true,
    }
}

impl Inner {
    /// How this node is.
    pub(crate) async fn here(&self) -> Here {
        let registry = &self.context.registry;
        let (num_channels, num_subs) = self.size().await;
        Here {
            name: self.context.config.node_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            num_clients: registry.clients(),
            num_users: registry.users(),
            num_channels,
            num_subs,
            uptime: self.started.elapsed().as_secs(),
        }
    }
}
