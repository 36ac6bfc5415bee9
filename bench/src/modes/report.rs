//! The report: one table of times, one of costs, the aims, and the articles' own figures beside ours.

use std::{fmt::Write as _, time::Duration};

use debezium::Profile;
use protocol::Mode;

use super::{CLIENTS, Modes, ROOMS, figures::Figures};
use crate::{
    cpu::per_message,
    delivery::Faults,
    percentiles::Millis,
    table::{Table, thousands},
};

/// What the aims are measured at.
const AIM_RATE: u32 = 20;

pub(super) fn of(figures: &[Figures], machine: &Table, settings: &Modes) -> anyhow::Result<String> {
    let mut text = String::from("# Every broadcast mode, measured in one run\n\n");
    writeln!(text, "Client, product, PostgreSQL, Kafka and Connect share one machine over 127.0.0.1.\n\n{machine}")?;
    writeln!(text, "## Aims\n\n{}", aims(figures))?;
    writeln!(text, "## Commit acknowledged → message read by a client\n\n{}", times(figures, &settings.rates))?;
    writeln!(
        text,
        "p50 / p99 in milliseconds. {ROOMS} rooms, {CLIENTS} clients that hear all of them, random gaps.\n"
    )?;
    writeln!(text, "{TIMES_NOTES}\n")?;
    writeln!(text, "## Saturation and costs\n\n{}", costs(figures))?;
    writeln!(text, "{}", costs_notes(settings))?;
    writeln!(text, "## The articles' own figures\n\n{ANCHOR}")?;
    Ok(text)
}

fn aims(figures: &[Figures]) -> Table {
    let mut table = Table::new(&["aim", "measured", "reached"]);
    for one in figures {
        let (p50, p99) = match (one.case.mode, one.case.profile) {
            (Mode::Wal, _) => (500, 2_000),
            (Mode::Cdc | Mode::Message, Some(Profile::Tuned)) => (4_000, 15_000),
            _ => continue,
        };
        let Some(outcome) = one.at(AIM_RATE) else { continue };
        let measured = [50, 99].map(|percent| outcome.from_commit.percentile(percent));
        table.row([
            format!("{}, {AIM_RATE}/s: p50 ≤ {} ms, p99 ≤ {} ms", one.case, Millis(p50), Millis(p99)),
            format!("{} / {}", Millis(measured[0]), Millis(measured[1])),
            yes(measured[0] <= p50 && measured[1] <= p99),
        ]);
    }
    let faults = figures.iter().map(Figures::faults).fold(Faults::default(), Faults::and);
    table.row([
        "lost / repeated / out of order at the clients, all modes: 0".to_owned(),
        faults.to_string(),
        yes(faults == Faults::default()),
    ]);
    table
}

fn yes(reached: bool) -> String {
    if reached { "yes" } else { "**no**" }.to_owned()
}

fn times(figures: &[Figures], rates: &[u32]) -> Table {
    let rates_a_second: Vec<String> = rates.iter().map(|rate| format!("{rate}/s")).collect();
    let header: Vec<&str> = ["mode"].into_iter().chain(rates_a_second.iter().map(String::as_str)).collect();
    let mut table = Table::new(&header);
    for one in figures {
        let cells = rates.iter().map(|&rate| match one.at(rate) {
            None => "–".to_owned(),
            Some(outcome) => {
                let [p50, p99] = [50, 99].map(|percent| Millis(outcome.from_commit.percentile(percent)));
                format!("{p50} / {p99}")
            }
        });
        table.row([one.case.to_string()].into_iter().chain(cells));
    }
    table
}

fn costs(figures: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "mode",
        "saturated, messages/s",
        "clients behind the writers",
        "CPU a message, saturated: product + PostgreSQL + Kafka and Connect",
        "the same at 200/s",
        "CPU while idle",
        "WAL a message",
        "repeats the hub dropped",
        "filled from the database",
        "lost / repeated / out of order",
        "foreign CPU",
    ]);
    for one in figures {
        let cpu = |cpu: crate::cpu::CpuTime, messages| {
            [cpu.server, cpu.postgres, cpu.kafka].map(|time| per_message(time, messages)).join(" + ")
        };
        table.row([
            one.case.to_string(),
            thousands(one.flood.rate()),
            format!("{:.1} s", one.flood.behind.as_secs_f64()),
            cpu(one.flood.cpu, one.flood.messages),
            one.at(200).map_or("–".to_owned(), |outcome| cpu(outcome.cpu, outcome.messages)),
            idle(one),
            format!("{} B", thousands(one.counted.wal_bytes as f64 / one.messages() as f64)),
            one.counted.repeats.to_string(),
            one.counted.filled.to_string(),
            one.faults().to_string(),
            one.flood.cpu.foreign(one.flood.wall),
        ]);
    }
    table
}

fn idle(one: &Figures) -> String {
    let (cpu, wall) = one.idle;
    let share = |time: Duration| format!("{:.1}", 100.0 * time.as_secs_f64() / wall.as_secs_f64());
    format!("{} + {} + {} %", share(cpu.server), share(cpu.postgres), share(cpu.kafka))
}

fn costs_notes(settings: &Modes) -> String {
    format!(
        "Saturated: {} writers for {} s through the HTTP API, each waiting for its answer; messages count until the last \
         client has read the last one. *WAL a message* is over all loads of a mode, the truth's own tables, the relay's \
         deletes and the pages that PostgreSQL writes whole after a checkpoint included. Percent are of one core. {COSTS_NOTES}",
        settings.flood.writers, settings.flood.flood_seconds
    )
}

const TIMES_NOTES: &str = "\
*Commit* is the moment at which the backend hears that the transaction is committed; a client can read the frame before
that, hence negative values. `tuned` and `seed` are the two profiles of `debezium/profiles`. `api` has no guarantee: it is
the dual write, shown to compare with; nothing was killed here, so it lost nothing.";

const COSTS_NOTES: &str = "\
The HTTP client uses the same cores.
";

const ANCHOR: &str = "\
GrandChat's tutorial, on an M1 Pro, a room of 100 members, its own definition of the way: `api` 40 ms, `outbox` 70 ms,
`cdc` 140 ms, `api_cdc` 50 ms. Its settings poll every 50 to 300 ms. Other machine, other day, other load: they say which
order of magnitude polling gives, not how fast that product could be. The profile `seed` has the articles' poll
interval (100 ms) on our stack.
";
