//! Sees to it that no server outlives its program, not even one killed with SIGKILL.
//!
//! A shell of a few lines waits at the end of a pipe that only this program holds. When the program is gone, in whatever
//! way, the pipe ends, and the shell stops the server and removes temporary files. It needs neither unsafe code nor a
//! certain thread to stay alive (the death signal of Linux follows the thread that spawned the child), works on
//! every Unix, and cleans up after a test process, whose statics are never dropped.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::error::{Error, While};

/// $1 database files, $2 signal, $3 what to remove (may be empty). Standard input tells the pid of the server, then
/// "stopped" if all ended in order.
///
/// The server is signalled only while its pid file names it: never a stranger with its pid, never the server of a program
/// that was started quickly after. The program may die before that file is written, so it is looked for more than
/// once. The signals that stop everything else must not stop the one who tidies up.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pid=
while read -r word; do
    [ "$word" = stopped ] && exit 0
    pid=$word
done
tries=0
while [ -n "$pid" ] && [ "$tries" -lt 20 ]; do
    if read -r serving <"$1/postmaster.pid" && [ "$serving" = "$pid" ]; then
        kill -s "$2" "$pid"
        break
    fi
    tries=$((tries + 1))
    sleep 0.1
done
[ -n "$3" ] || exit 0
tries=0
while [ -n "$pid" ] && kill -0 "$pid" && [ "$tries" -lt 100 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
rm -rf "$3"
"#;

/// What happens to a server without its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastWill<'a> {
    /// An orderly end; the files stay.
    Stop,
    /// The quickest end; the directory goes too.
    Remove(&'a Path),
}

/// The waiting shell.
#[derive(Debug)]
pub(crate) struct Caretaker(Child);

impl Caretaker {
    /// Starts waiting. To be called before the server starts, so that there is hardly a moment without it.
    pub(crate) fn employ(pgdata: &Path, will: LastWill<'_>) -> Result<Self, Error> {
        let (signal, remove) = match will {
            LastWill::Stop => ("INT", Path::new("")),
            LastWill::Remove(directory) => ("QUIT", directory),
        };
        Command::new("/bin/sh")
            .args(["-c", SCRIPT, "postgres-caretaker"])
            .arg(pgdata)
            .arg(signal)
            .arg(remove)
            .current_dir("/")
            .process_group(0) // Ctrl-C in the terminal is for the program alone
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .when(|| "run /bin/sh".to_owned())
    }

    /// Says which process is the server. The latest counts.
    pub(crate) fn watch(&mut self, pid: u32) {
        self.tell(&pid.to_string());
    }

    /// The server ended in order: nothing is left to do.
    pub(crate) fn dismiss(&mut self) {
        self.tell("stopped");
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }

    /// Somebody may have killed the shell. The next start copes with what it would have tidied up.
    fn tell(&mut self, line: &str) {
        let told = self.0.stdin.as_mut().map_or(Ok(()), |pipe| pipe.write_all(format!("{line}\n").as_bytes()));
        if let Err(error) = told {
            tracing::warn!(%error, "the caretaker of PostgreSQL is gone");
        }
    }
}
