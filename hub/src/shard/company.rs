//! Who is in a channel: how they come and go before each other's eyes, and when their time is over.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use super::{
    Desk,
    channel::ChannelState,
    command::{Census, Presence},
};
use crate::{
    codes::{Disconnect, ErrorCode, Unsubscribed},
    connection::{Connection, ConnectionId},
    frame::{self, Kind, Push},
    standing::Side,
    token,
};

impl ChannelState {
    /// Those who want to know are told that somebody has come or gone.
    pub(super) fn announce(&mut self, kind: Kind, who: &Connection, info: Option<&str>) {
        self.outbox.push(Push::presence(&self.name, kind, &who.as_others_see_it(info)));
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
            self.announce(Kind::Leave, connection, member.info.as_deref());
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
}

/// When a subscription has to be ended whose token says `expires`.
pub(crate) fn end_of(expires: Option<u64>, grace: Duration) -> Option<Instant> {
    Instant::now().checked_add(token::time_left(expires?).checked_add(grace)?)
}
