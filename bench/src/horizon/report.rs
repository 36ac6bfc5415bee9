//! The report: each case without and with the held snapshot, and how they compare.

use std::fmt::Write as _;

use super::{Figures, Horizon};
use crate::{
    cpu::per_message,
    percentiles::median,
    table::{Table, thousands},
};

/// At most so many times what it is without a snapshot: p50, p99, CPU of PostgreSQL.
const AIMS: [(&str, f64); 3] = [("p50", 1.2), ("p99", 1.5), ("PostgreSQL's CPU", 1.3)];
/// At least this share of the rate at which a backlog drains without one.
const DRAIN_AIM: f64 = 0.8;

pub(super) fn of(figures: &[Figures], machine: &Table, settings: &Horizon) -> anyhow::Result<String> {
    let mut text = String::from("# A snapshot that is held, measured\n\n");
    writeln!(text, "Client, product and PostgreSQL share one machine over 127.0.0.1.\n\n{machine}")?;
    writeln!(
        text,
        "{} messages a second for {} s, the last {} of them measured, without and with a transaction that holds a snapshot \
         (`begin isolation level repeatable read; select 1`) all the while. Then {} rows at once, three times.\n",
        settings.rate,
        settings.held + settings.seconds,
        settings.seconds,
        thousands(settings.rows as f64),
    )?;
    writeln!(text, "{}", measured(figures))?;
    writeln!(text, "## With the snapshot, as a multiple of without\n\n{}", compared(figures))?;
    Ok(text)
}

fn measured(figures: &[Figures]) -> Table {
    let mut table = Table::new(&[
        "case",
        "snapshot",
        "commit → read p50 / p90 / p99 / max ms",
        "product CPU a message",
        "PostgreSQL CPU a message",
        "drained rows/s, median",
        "lost / repeated / out of order",
        "foreign CPU",
    ]);
    for Figures { case, held, latency, drain } in figures {
        let faults = drain.iter().fold(latency.faults, |sum, run| sum.and(run.faults));
        table.row([
            case.clone(),
            if *held { "held" } else { "none" }.to_owned(),
            latency.from_commit.summary(),
            per_message(latency.cpu.server, latency.messages),
            per_message(latency.cpu.postgres, latency.messages),
            drained(drain).map_or("–".to_owned(), thousands),
            faults.to_string(),
            latency.cpu.foreign(latency.wall),
        ]);
    }
    table
}

fn compared(figures: &[Figures]) -> Table {
    let mut table = Table::new(&["case", "what", "measured", "aim", "reached"]);
    for pair in figures.chunks(2) {
        let [without, with] = pair else { continue };
        let cpu = |figures: &Figures| figures.latency.cpu.postgres.as_secs_f64() / figures.latency.messages as f64;
        let percentile = |figures: &Figures, percent| figures.latency.from_commit.percentile(percent) as f64;
        let ratios = [
            percentile(with, 50) / percentile(without, 50),
            percentile(with, 99) / percentile(without, 99),
            cpu(with) / cpu(without),
        ];
        for ((what, aim), ratio) in AIMS.into_iter().zip(ratios) {
            table.row([
                with.case.clone(),
                what.to_owned(),
                format!("{ratio:.2}"),
                format!("≤ {aim}"),
                yes(ratio <= aim),
            ]);
        }
        if let (Some(without), Some(drained)) = (drained(&without.drain), drained(&with.drain)) {
            let ratio = drained / without;
            let cells =
                ["drained rows/s".to_owned(), format!("{ratio:.2}"), format!("≥ {DRAIN_AIM}"), yes(ratio >= DRAIN_AIM)];
            table.row([with.case.clone()].into_iter().chain(cells));
        }
    }
    table
}

fn drained(runs: &[crate::drain::Run]) -> Option<f64> {
    median(runs, crate::drain::Run::rows_a_second).map(|run| run.rows_a_second())
}

fn yes(reached: bool) -> String {
    if reached { "yes" } else { "**no**" }.to_owned()
}
