//! The connections that hear a channel, grouped by what exactly they are sent: to each group the same bytes go.
//!
//! Most channels have one group. Joining and leaving take constant time.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;

use crate::{
    config::HubConfig,
    connection::{Connection, ConnectionId},
    frame::{self, Kind, Push},
    terms::Terms,
};

#[derive(Default)]
pub(super) struct Subscribers {
    groups: Vec<Group>,
    places: HashMap<ConnectionId, Place>,
}

/// Connections that are sent the same bytes.
pub(super) struct Group {
    audience: Audience,
    connections: Vec<Arc<Connection>>,
    /// What the channel knows of the connection in the same place.
    members: Vec<Member>,
}

/// What sets groups apart.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Audience {
    numbered: bool,
    hears_joins: bool,
    deflates: bool,
}

/// What others may know of a subscriber.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) present: bool,
    pub(super) announced: bool,
    pub(super) info: Option<Arc<str>>,
}

#[derive(Clone, Copy)]
struct Place {
    group: u32,
    index: u32,
}

impl Subscribers {
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        self.places.contains_key(&id)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Arc<Connection>> {
        let place = self.places.get(&id)?;
        self.groups.get(place.group as usize)?.connections.get(place.index as usize)
    }

    pub(super) fn add(&mut self, connection: Arc<Connection>, terms: Terms, info: Option<Arc<str>>) {
        if self.contains(connection.id) {
            return;
        }
        let audience =
            Audience { numbered: terms.numbered, hears_joins: terms.hears_joins, deflates: connection.wire.deflates() };
        let group = self.groups.iter().position(|group| group.audience == audience).unwrap_or_else(|| {
            self.groups.push(Group { audience, connections: Vec::new(), members: Vec::new() });
            self.groups.len() - 1
        });
        let place = Place { group: narrow(group), index: narrow(self.groups[group].connections.len()) };
        self.places.insert(connection.id, place);
        self.groups[group].connections.push(connection);
        self.groups[group].members.push(Member { present: terms.present, announced: terms.announced, info });
    }

    /// What was known of it, if it was one of them.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Member> {
        let place = self.places.remove(&id)?;
        let group = &mut self.groups[place.group as usize];
        group.connections.swap_remove(place.index as usize);
        let member = group.members.swap_remove(place.index as usize);
        if let Some(moved) = group.connections.get(place.index as usize) {
            self.places.insert(moved.id, place);
        }
        Some(member)
    }

    pub(super) fn take(&mut self) -> Vec<Arc<Connection>> {
        self.places.clear();
        self.groups.drain(..).flat_map(|group| group.connections).collect()
    }

    /// Those whom others may see.
    pub(super) fn present(&self) -> impl Iterator<Item = (&Connection, &Member)> {
        self.all().filter(|(_, member)| member.present)
    }

    /// Those of whom others are told when they come and go.
    pub(super) fn announced(&self) -> impl Iterator<Item = (&Connection, &Member)> {
        self.all().filter(|(_, member)| member.announced)
    }

    fn all(&self) -> impl Iterator<Item = (&Connection, &Member)> {
        let all = self.groups.iter().flat_map(|group| group.connections.iter().zip(&group.members));
        all.map(|(connection, member)| (&**connection, member))
    }
}

impl Group {
    pub(super) fn connections(&self) -> &[Arc<Connection>] {
        &self.connections
    }

    /// The frames that this group is sent for `pushes`, in order.
    pub(super) fn frames(&self, pushes: &[Push], number: u32, config: &HubConfig) -> Vec<Bytes> {
        if self.connections.is_empty() {
            return Vec::new();
        }
        let Audience { numbered, hears_joins, deflates } = self.audience;
        let heard = pushes.iter().filter(|push| push.kind == Kind::Publication || hears_joins);
        let frames = heard.map(|push| if numbered { push.numbered(number) } else { push.named.clone() });
        let (least, level) = (config.compression_min_size, config.compression_level);
        frames.map(|frame| if deflates { frame::deflated(frame, least, level) } else { frame }).collect()
    }
}

/// A hub has far fewer connections than 2^32.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
