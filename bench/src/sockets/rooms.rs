//! Many rooms per connection, all of them busy: what a server gains by gathering what it owes to one connection.

use clap::Args;

use super::{
    fanout::{Channels, Fanout, Load},
    target::Target,
};

/// What to measure.
#[derive(Args, Clone, Debug)]
pub struct Rooms {
    /// Who publishes.
    #[command(flatten)]
    pub target: Target,
    /// Clients
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    pub clients: u32,
    /// Rooms in all
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rooms: u32,
    /// Rooms that each client is in; every room gets the same number of clients
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub each: u32,
    /// Publications a second over all rooms, which take turns
    #[arg(long, conflicts_with = "window", value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub rate: Option<u32>,
    /// Publications in flight over all rooms [default: 64]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub window: Option<u32>,
    /// Publications in all
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub publications: u32,
    /// Bytes of each one's data
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(50..=30_000))]
    pub size: u32,
}

impl From<Rooms> for Fanout {
    fn from(rooms: Rooms) -> Self {
        let load = Load {
            subscribers: rooms.clients,
            rate: rooms.rate,
            window: rooms.window.or(rooms.rate.is_none().then_some(64)),
            publications: rooms.publications,
            size: rooms.size,
            channels: Channels { all: rooms.rooms, each: rooms.each },
        };
        Self { target: rooms.target, load }
    }
}

/// What the suite runs: everybody in the same rooms, steadily, then with more in flight; then in some of many.
pub(super) fn loads() -> Vec<Load> {
    let alike = Channels { all: 50, each: 50 };
    let mixed = Channels { all: 500, each: 50 };
    let loads = [(alike, Some(100), None, 1000), (alike, None, Some(8), 3000), (alike, None, Some(64), 3000)];
    let loads = loads.into_iter().chain([(mixed, None, Some(64), 15_000)]);
    loads
        .map(|(channels, rate, window, publications)| Load {
            subscribers: 200,
            rate,
            window,
            publications,
            size: 200,
            channels,
        })
        .collect()
}
