//! `bench <what>`: measures a running product, or starts everything itself (`bench all`).

use std::process::ExitCode;

use bench::{
    console, drain, horizon, latency, machine, modes, recover,
    sockets::{churn, fanout, floor, idle, rooms, suite as sockets},
    suite, writes,
};
use clap::{Parser, Subcommand};

/// Measures Roomcast: from commit to client, the drain of a backlog, messages written a second.
#[derive(Parser, Debug)]
#[command(name = "bench", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// From commit to client at a steady rate, on a running product
    Latency(latency::Latency),
    /// How fast a backlog drains, on a running product
    Drain(drain::Drain),
    /// How many messages a second are written, beside pgbench; in a database of its own
    Writes(writes::Writes),
    /// Every broadcast mode under the same loads, with Kafka and Debezium, on a release build
    Modes(modes::Modes),
    /// One channel and many subscribers, on a running server that speaks the Centrifuge protocol
    Fanout(fanout::Fanout),
    /// Many rooms per connection, all of them busy, on such a server
    Rooms(rooms::Rooms),
    /// Memory of connections that do nothing, on such a server
    Idle(idle::Idle),
    /// Clients that come and go, on such a server
    Churn(churn::Churn),
    /// The limit of this machine: a bare loop that writes an already framed message to sockets
    Floor(floor::Floor),
    /// The hub's sockets beside the floor, on a release build
    Sockets(sockets::Suite),
    /// Everybody comes back at once after the hub was killed, on a release build and a private PostgreSQL
    Recover(recover::Recover),
    /// Outbox, log and Debezium without and with a snapshot that somebody holds, on a release build
    Horizon(horizon::Horizon),
    /// Everything, on a release build and a private PostgreSQL that it starts and stops
    All(suite::Suite),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    // Dropping what runs stops the processes that were started.
    let outcome = tokio::select! {
        outcome = run(cli.what) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(what: What) -> anyhow::Result<()> {
    let table = match what {
        What::All(suite) => return suite.run().await,
        What::Modes(modes) => return modes.run().await,
        What::Sockets(suite) => return suite.run().await,
        What::Horizon(horizon) => return horizon.run().await,
        What::Recover(recover) => return recover.run().await,
        What::Floor(floor) => return tokio::task::spawn_blocking(move || floor.serve()).await?,
        What::Fanout(fanout) => {
            machine::allow_many_sockets()?;
            fanout::table(&[("as it runs".to_owned(), fanout.load, fanout.measure().await?)])
        }
        What::Rooms(rooms) => {
            machine::allow_many_sockets()?;
            let fanout = fanout::Fanout::from(rooms);
            fanout::table(&[("as it runs".to_owned(), fanout.load, fanout.measure().await?)])
        }
        What::Idle(idle) => {
            machine::allow_many_sockets()?;
            idle::table(&[("as it runs".to_owned(), idle.clone(), idle.measure().await?)])
        }
        What::Churn(churn) => churn::table(&[("as it runs".to_owned(), churn.clone(), churn.measure().await?)]),
        What::Latency(latency) => latency::table(&[("as it runs", latency.measure().await?)]),
        What::Drain(drain) => drain::table(&[("as it runs", drain.measure().await?)]),
        What::Writes(writes) => writes::table(&writes.measure().await?),
    };
    console::result(machine::table(&[]));
    console::result(table);
    Ok(())
}
