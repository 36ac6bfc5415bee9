//! Where it was measured, and how busy the machine was before.

use std::{fs, process::Command};

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::table::Table;

/// Cores that this program may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The load of the last minute, as /proc/loadavg says it.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("?").to_owned()
}

/// Resident memory of a process, in bytes.
pub fn resident(pid: u32) -> anyhow::Result<u64> {
    let text = value_of(&format!("/proc/{pid}/status"), "VmRSS").context("the process is gone")?;
    let kilobytes: u64 = text.trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1024)
}

/// Lets this program, and those that it starts, open as many sockets as the system allows.
pub fn allow_many_sockets() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

/// The table at the head of a report: machine, versions, settings.
pub fn table(more: &[(&str, String)]) -> Table {
    let mut table = Table::new(&["", ""]);
    table.row(["CPU", &cpu_model()]);
    table.row(["cores", &cores().to_string()]);
    table.row(["memory", &memory()]);
    table.row(["kernel", &kernel()]);
    table.row(["date", &first_line_of("date", &["-u", "+%Y-%m-%d %H:%M UTC"])]);
    table.row(["build", if cfg!(debug_assertions) { "debug: the figures mean nothing" } else { "release" }]);
    table.row(["commit", &first_line_of("git", &["describe", "--always", "--dirty"])]);
    for (name, value) in more {
        table.row([*name, value]);
    }
    table.row(["load average at the start", &load()]);
    table
}

/// What a program says first; a dash when it is not there.
pub fn first_line_of(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().ok().filter(|output| output.status.success());
    let text = output.and_then(|output| String::from_utf8(output.stdout).ok()).unwrap_or_default();
    text.lines().next().unwrap_or("–").to_owned()
}

fn cpu_model() -> String {
    value_of("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

fn memory() -> String {
    let kilobytes = value_of("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    kilobytes.map_or("?".to_owned(), |kilobytes| format!("{:.1} GiB", kilobytes / f64::from(1 << 20)))
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

fn value_of(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let mut values = text.lines().filter_map(|line| line.split_once(':'));
    values.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}
