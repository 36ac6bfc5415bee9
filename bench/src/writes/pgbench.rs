//! PostgreSQL's own load tool with the statement that the product sends: what the database can do with a cheap client.

use std::{env, fs, path::PathBuf, process::Stdio, time::Instant};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{Figure, Load, TEXT, scene::PEOPLE, scene::Scene};
use crate::{cpu::Watched, machine, percentiles::Durations};

/// Where Debian keeps it, one directory per version.
const PACKAGE_ROOT: &str = "/usr/lib/postgresql";
/// Share of transactions whose time is kept: enough for a p99, and the file stays small.
const SAMPLING: &str = "--sampling-rate=0.25";

/// The tool.
pub(super) struct Pgbench(PathBuf);

impl Pgbench {
    /// In PATH, else the newest of the distribution's.
    pub(super) fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut packaged: Vec<PathBuf> =
            fs::read_dir(PACKAGE_ROOT).into_iter().flatten().flatten().map(|entry| entry.path().join("bin")).collect();
        packaged.sort();
        let places = env::split_paths(&path).chain(packaged.into_iter().rev());
        places.map(|place| place.join("pgbench")).find(|file| file.is_file()).map(Self)
    }

    /// One run on the first `write_rooms` rooms.
    pub(super) async fn run(&self, scene: &Scene, load: Load, watched: &Watched) -> anyhow::Result<Figure> {
        let directory = tempfile::tempdir()?;
        let script = directory.path().join("post.sql");
        fs::write(&script, statement(load.write_rooms))?;
        let mut pgbench = Command::new(&self.0);
        pgbench
            .args(["--no-vacuum", "--protocol=prepared", "--log", "--log-prefix=times", SAMPLING])
            .args(["--client", &load.writers.to_string()])
            .args(["--jobs", &machine::cores().min(usize::from(load.writers)).to_string()])
            .args(["--time", &load.write_seconds.to_string()])
            .arg("--file")
            .arg(&script)
            .arg(&scene.url)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let (before, begin) = (watched.read(), Instant::now());
        let output = pgbench.output().await.context("running pgbench")?;
        let (cpu, wall) = (watched.since(before), begin.elapsed());
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "pgbench failed: {}", String::from_utf8_lossy(&output.stderr));

        let messages = number_after(&said, "actually processed: ").context("pgbench did not say how many")?;
        let rate = number_after(&said, "tps = ").context("pgbench did not say how fast")?;
        let mut answers = Vec::new();
        for file in fs::read_dir(directory.path())?.flatten().filter(|file| file.path() != script) {
            answers.extend(fs::read_to_string(file.path())?.lines().filter_map(answer_time));
        }
        // Its rate leaves out the time of connecting, so the wall time does too.
        let connected = std::time::Duration::from_secs_f64(messages / rate).min(wall);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of transactions")]
        let messages = messages as usize;
        Ok(Figure { messages, wall: connected, answers: Durations::of(answers), cpu })
    }
}

/// The Poster's statement with one message: `store::messages::post`.
fn statement(rooms: u16) -> String {
    format!(
        "\\set room random(1, {rooms})\n\
         \\set author random(1, {PEOPLE})\n\
         select status, o_version, o_author_name, o_text, o_members, o_texts, o_created_at \
         from post_messages(:room, array[:author]::bigint[], array['{TEXT}'], array[gen_random_uuid()]);\n"
    )
}

/// `client transaction microseconds script seconds microseconds`
fn answer_time(line: &str) -> Option<i64> {
    line.split_whitespace().nth(2)?.parse().ok()
}

fn number_after(text: &str, label: &str) -> Option<f64> {
    let rest = &text[text.find(label)? + label.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pgbench_says_is_understood() {
        let said = "number of transactions actually processed: 28377\nnumber of failed transactions: 0 (0.000%)\n\
                    latency average = 3.380 ms\ntps = 9466.719876 (without initial connection time)\n";
        assert_eq!(number_after(said, "actually processed: "), Some(28377.0));
        assert_eq!(number_after(said, "tps = "), Some(9_466.719_876));
        assert_eq!(answer_time("3 17 3412 0 1700000000 123456"), Some(3412));
    }
}
