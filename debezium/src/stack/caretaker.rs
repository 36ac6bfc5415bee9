//! Sees to it that no JVM outlives its program, not even one killed with SIGKILL.
//!
//! As with the embedded PostgreSQL, a shell waits at the end of a pipe that only this program holds. Here there are two
//! processes to end, in an order, and no pid file of their own to know them by: their command line names the directory.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{Part, process::marker};
use crate::error::{Error, While};

/// $1 what the command line of our processes contains, $2 what to remove (may be empty). Standard input tells "kafka PID"
/// and "connect PID", the latest counts, then "stopped" if all ended in order.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
kafka= connect=
while read -r word pid; do
    case $word in
    stopped) exit 0 ;;
    kafka) kafka=$pid ;;
    connect) connect=$pid ;;
    esac
done
ours() {
    [ -n "$1" ] || return 1
    if [ -e /proc/self/cmdline ]; then
        tr '\0' '\n' <"/proc/$1/cmdline"
    else
        ps -ww -o command= -p "$1" | tr ' ' '\n'
    fi | grep -qxF -e "$marker"
}
end() {
    tries=0
    ours "$1" && kill -s TERM "$1"
    while ours "$1" && [ "$tries" -lt 100 ]; do
        tries=$((tries + 1))
        [ -z "$remove" ] && [ "$tries" -lt 100 ] || kill -s KILL "$1"
        sleep 0.1
    done
}
marker=$1 remove=$2
end "$connect"
end "$kafka"
[ -z "$remove" ] || rm -rf "$remove"
"#;

/// What happens without the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LastWill {
    /// An orderly end; the files stay.
    Stop,
    /// The quickest end; the directory goes too.
    Remove,
}

/// The waiting shell.
#[derive(Debug)]
pub(super) struct Caretaker(Child);

impl Caretaker {
    /// Starts waiting. To be called before anything starts, so that there is hardly a moment without it.
    pub(super) fn employ(directory: &Path, will: LastWill) -> Result<Self, Error> {
        Command::new("/bin/sh")
            .args(["-c", SCRIPT, "kafka-caretaker", &marker(directory)])
            .arg(if will == LastWill::Remove { directory } else { Path::new("") })
            .current_dir("/")
            .process_group(0) // Ctrl-C in the terminal is for the program alone
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .when(|| "run /bin/sh".to_owned())
    }

    /// Says which process is this part. The latest counts.
    pub(super) fn watch(&mut self, part: Part, pid: u32) {
        self.tell(&format!("{} {pid}", part.word()));
    }

    /// Everything ended in order: nothing is left to do.
    pub(super) fn dismiss(&mut self) {
        self.tell("stopped");
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }

    /// Somebody may have killed the shell. The next start copes with what it would have tidied up.
    fn tell(&mut self, line: &str) {
        let told = self.0.stdin.as_mut().map_or(Ok(()), |pipe| pipe.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = told {
            tracing::warn!(%error, "the caretaker of Kafka is gone");
        }
    }
}
