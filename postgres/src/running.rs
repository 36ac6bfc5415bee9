//! Finds the server that another program runs, for commands beside a running demo.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    data_directory::PASSWORD_FILE,
    error::{Error, While},
    pid_file::{PidFile, serves},
    server::url,
};

/// The address of `database` on the server that runs on `data_dir` right now, password included.
pub fn url_of_running(data_dir: &Path, database: &str) -> Result<String, Error> {
    let port = data_of_every_major(data_dir).find_map(|pgdata| port_of(&pgdata));
    let port = port.ok_or_else(|| Error::NotRunning { data_dir: data_dir.to_path_buf() })?;
    let path = data_dir.join(PASSWORD_FILE);
    let password = fs::read_to_string(&path).when(|| format!("read {}", path.display()))?;
    Ok(url(&password, port, database))
}

fn data_of_every_major(data_dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(data_dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("PG_VERSION").is_file())
}

/// The port of the server of `pgdata`, if it runs and accepts connections.
fn port_of(pgdata: &Path) -> Option<u16> {
    let file = PidFile::read(pgdata)?;
    let runs = file.is_ready() && serves(file.pid()?, pgdata) != Some(false);
    if runs { file.port() } else { None }
}
