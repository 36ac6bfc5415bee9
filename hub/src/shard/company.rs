//! Who is in a channel: how they come and go before each other's eyes, and when their time is over.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{
    Desk,
    channel::ChannelState,
    command::{Census, Crowd, Presence},
};
use crate::{
    codes::{Disconnect, ErrorCode, Unsubscribed},
    connection::{Connection, ConnectionId},
    frame::{self, Kind, Push},
    nodes::Nodes,
    standing::Side,
    token,
};

impl ChannelState {
    /// Those who want to know are told that somebody has come or gone, on other nodes as well.
    pub(super) fn announce(&mut self, kind: Kind, who: &Connection, info: Option<&str>, desk: &Desk) {
        let who = who.as_others_see_it(info);
        self.outbox.push(Push::presence(&self.name, kind, &who));
        if let Some(nodes) = &desk.context.nodes {
            nodes.announce(&self.name, kind, &who);
        }
    }

    /// The hub stops: the other nodes are told that everybody goes.
    pub(super) fn announce_the_end(&self, nodes: &Nodes) {
        for (who, member) in self.subscribers.announced() {
            nodes.announce(&self.name, Kind::Leave, &who.as_others_see_it(member.info.as_deref()));
        }
    }

    /// Somebody has come or gone on another node.
    pub(super) fn announce_from_afar(&mut self, kind: Kind, who: &str, desk: &mut Desk) {
        self.outbox.push(Push::presence(&self.name, kind, who.as_bytes()));
        self.mark(desk);
    }

    /// The subscription ends then, unless it is refreshed.
    pub(super) fn set_end(&mut self, id: ConnectionId, end: Option<Instant>) {
        match end {
            Some(end) => self.ends.insert(id, end),
            None => self.ends.remove(&id),
        };
    }

    /// Ends the subscriptions whose time is over.
    pub(super) fn end_expired(&mut self, now: Instant, desk: &mut Desk) {
        let over: Vec<_> = self.ends.iter().filter(|(_, end)| **end <= now).map(|(id, _)| *id).collect();
        for id in over {
            self.ends.remove(&id);
            let Some(connection) = self.subscribers.get(id).cloned() else { continue };
            let side = connection.standing.lock().release(&self.name);
            self.leave(&connection, desk);
            match side {
                Some(Side::Client) => connection.push(&frame::unsubscribe_push(&self.name, Unsubscribed::EXPIRED)),
                Some(Side::Server) => connection.close(&Disconnect::SUBSCRIPTION_EXPIRED),
                None => {}
            }
        }
    }

    /// The connection no longer wants to hear the channel, or no longer may. True if it had been told that it hears it.
    pub(super) fn leave(&mut self, connection: &Connection, desk: &mut Desk) -> bool {
        self.ends.remove(&connection.id);
        let member = self.subscribers.remove(connection.id);
        if let Some(member) = member.as_ref().filter(|member| member.announced) {
            self.announce(Kind::Leave, connection, member.info.as_deref(), desk);
            self.mark(desk);
        }
        let (gone, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|join| join.connection.id == connection.id);
        self.waiting = stay;
        for join in gone {
            join.fail(ErrorCode::PERMISSION_DENIED);
        }
        member.is_some()
    }

    /// Who is here, for those who may know.
    pub(super) fn presence(&self) -> Presence {
        let present = self.subscribers.present();
        present.map(|(who, member)| (who.client, who.as_others_see_it(member.info.as_deref()))).collect()
    }

    /// How many are here.
    pub(super) fn census(&self) -> Census {
        let users: HashSet<&str> = self.subscribers.present().map(|(who, _)| who.user()).collect();
        Census { clients: self.subscribers.present().count(), users: users.len() }
    }

    /// The same with the users' names, for a count over several nodes.
    pub(super) fn crowd(&self) -> Crowd {
        let mut crowd = Crowd::default();
        for (who, _) in self.subscribers.present() {
            crowd.clients += 1;
            if !crowd.users.contains(who.user()) {
                crowd.users.insert(who.user().to_owned());
            }
        }
        crowd
    }
}

/// When a subscription has to be ended whose token says `expires`.
pub(crate) fn end_of(expires: Option<u64>, grace: Duration) -> Option<Instant> {
    Instant::now().checked_add(token::time_left(expires?).checked_add(grace)?)
}
