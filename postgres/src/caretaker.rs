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

/// $1 database files, $2 signal, $3 what to remove (may be empty).
///
/// The program may have died between the start of the server and its first pid file, so that file is looked for more
/// than once. The signals that stop everything else must not stop the one who tidies up.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r word && [ "$word" = stopped ] && exit 0
tries=0
while [ "$tries" -lt 20 ]; do
    if read -r pid <"$1/postmaster.pid" && [ "$pid" != "$PPID_AT_START" ]; then
        kill -s "$2" "$pid"
        break
    fi
    tries=$((tries + 1))
    sleep 0.1
done
[ -n "$3" ] || exit 0
tries=0
while [ -e "$1/postmaster.pid" ] && kill -0 "$pid" && [ "$tries" -lt 100 ]; do
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
    /// Starts waiting. To be called before the server starts, so that there is no moment without it.
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
            .env("PPID_AT_START", std::process::id().to_string())
            .current_dir("/")
            .process_group(0) // Ctrl-C in the terminal is for the program alone
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Self)
            .when(|| "run /bin/sh".to_owned())
    }

    /// The server ended in order: nothing is left to do.
    pub(crate) fn dismiss(&mut self) {
        if let Some(mut pipe) = self.0.stdin.take() {
            let _ = pipe.write_all(b"stopped\n");
        }
        let _ = self.0.wait();
    }
}
