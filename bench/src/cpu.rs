//! CPU time from /proc: of the product's processes, of PostgreSQL, of this program, and of everything else meanwhile.
//!
//! The kernel counts in hundredths of a second: a run that used half a second is known to two percent.

use std::{collections::HashMap, fs, time::Duration};

use crate::machine;

/// One tick of /proc on Linux, whatever the kernel's own frequency.
const TICK: Duration = Duration::from_millis(10);

/// Whose time is counted.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// The product's processes; each alone, without its children (the demo's PostgreSQL is one).
    pub server: Vec<u32>,
    /// PostgreSQL's first process; all its descendants count.
    pub postgres: Option<u32>,
    /// Kafka and Connect, where they run.
    pub kafka: Vec<u32>,
}

/// Used CPU time, user and system, at one moment or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTime {
    /// The product.
    pub server: Duration,
    /// PostgreSQL.
    pub postgres: Duration,
    /// Kafka and Connect.
    pub kafka: Duration,
    /// This program and the children that it has waited for.
    pub client: Duration,
    /// The whole machine.
    pub machine: Duration,
}

impl Watched {
    /// Reads the clocks now. A process that is gone counts as nothing.
    pub fn read(&self) -> CpuTime {
        let processes = if self.postgres.is_some() { all_processes() } else { HashMap::new() };
        CpuTime {
            server: each(&self.server),
            kafka: each(&self.kafka),
            postgres: self.postgres.map_or(Duration::ZERO, |pid| tree(pid, &processes)),
            client: process(std::process::id()).map_or(Duration::ZERO, |stat| stat.own + stat.reaped),
            machine: fs::read_to_string("/proc/stat").map_or(Duration::ZERO, |text| busy(&text)),
        }
    }

    /// What was used since `before`.
    pub fn since(&self, before: CpuTime) -> CpuTime {
        let now = self.read();
        CpuTime {
            server: now.server.saturating_sub(before.server),
            postgres: now.postgres.saturating_sub(before.postgres),
            kafka: now.kafka.saturating_sub(before.kafka),
            client: now.client.saturating_sub(before.client),
            machine: now.machine.saturating_sub(before.machine),
        }
    }
}

impl CpuTime {
    /// The share of the machine that others used during `wall`: what makes a figure doubtful. A dash when PostgreSQL
    /// was not watched, as it would be one of the others.
    pub fn foreign(&self, wall: Duration) -> String {
        if self.postgres.is_zero() {
            return "–".to_owned();
        }
        let foreign = self.machine.saturating_sub(self.server + self.postgres + self.kafka + self.client).as_secs_f64();
        format!("{:.0} %", 100.0 * foreign / (wall.as_secs_f64() * machine::cores() as f64))
    }
}

/// "123 µs", or a dash when no process was named.
pub fn per_message(time: Duration, messages: usize) -> String {
    if time.is_zero() || messages == 0 {
        return "–".to_owned();
    }
    format!("{:.0} µs", time.as_secs_f64() * 1e6 / messages as f64)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: Duration,
    /// Of children that ended and were waited for.
    reaped: Duration,
}

/// CPU time of a process's living threads, to the nanosecond where the kernel counts so: for runs of a few tenths of a second.
pub fn of_threads(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let times = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    });
    let exact: Duration = times.sum();
    if exact.is_zero() { each(&[pid]) } else { exact }
}

fn each(pids: &[u32]) -> Duration {
    pids.iter().filter_map(|&pid| process(pid)).map(|stat| stat.own).sum()
}

fn process(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name may hold spaces and parentheses, so fields are counted behind the last one.
fn parse(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u32>().ok().map(|ticks| TICK * ticks);
    Some(Stat { parent: fields.get(1)?.parse().ok()?, own: ticks(11)? + ticks(12)?, reaped: ticks(13)? + ticks(14)? })
}

fn all_processes() -> HashMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, process(pid)?))).collect()
}

fn tree(root: u32, processes: &HashMap<u32, Stat>) -> Duration {
    let Some(stat) = processes.get(&root) else { return Duration::ZERO };
    let children = processes.iter().filter(|(_, child)| child.parent == root).map(|(&pid, _)| pid);
    stat.own + stat.reaped + children.map(|child| tree(child, processes)).sum::<Duration>()
}

/// user, nice, system, idle, iowait, irq, softirq; what follows is counted in these, or was taken by the host.
fn busy(proc_stat: &str) -> Duration {
    let fields = proc_stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(7);
    let ticks = fields.map(|field| field.parse::<u64>().unwrap_or(0)).enumerate();
    let busy: u64 = ticks.filter(|(index, _)| !matches!(index, 3 | 4)).map(|(_, ticks)| ticks).sum();
    Duration::from_millis(busy * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_cannot_shift_the_fields() {
        let stat = "42 (a) b (c) S 7 42 42 0 -1 4194304 100 0 0 0 150 50 30 20 20 0 3 0 1000 1 2";
        let expected = Stat { parent: 7, own: Duration::from_secs(2), reaped: Duration::from_millis(500) };
        assert_eq!(parse(stat), Some(expected));
    }

    #[test]
    fn waiting_is_not_busy() {
        assert_eq!(busy("cpu  100 1 50 9999 888 2 3 7 0 0\ncpu0 1"), Duration::from_millis(1560));
    }

    #[test]
    fn a_tree_counts_the_living_and_the_dead() {
        let stat = |parent, own, reaped| Stat { parent, own: TICK * own, reaped: TICK * reaped };
        let processes =
            HashMap::from([(1, stat(0, 9, 9)), (10, stat(1, 1, 5)), (11, stat(10, 2, 0)), (12, stat(11, 3, 0))]);
        assert_eq!(tree(10, &processes), TICK * 11);
    }

    #[test]
    fn this_process_is_seen() {
        assert!(process(std::process::id()).is_some());
        assert!(Watched::default().read().machine > Duration::ZERO);
        assert!(of_threads(std::process::id()) > Duration::ZERO);
    }
}
