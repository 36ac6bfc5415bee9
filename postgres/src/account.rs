//! Whom servers run as. PostgreSQL refuses root, so root hands it to `postgres` or `nobody`, and others may follow.

use std::{os::unix::process::CommandExt, path::Path, process::Command};

use nix::unistd::{User, geteuid};

use crate::error::{Error, While};

/// The account a server's processes and files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The one this program runs as.
    Own,
    /// This program is root and gives it up for the server.
    Other {
        /// User.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl Account {
    /// The own account, or for root the first of `postgres` and `nobody` that exists.
    pub fn choose() -> Result<Self, Error> {
        if !geteuid().is_root() {
            return Ok(Account::Own);
        }
        // A bare number would not do: postgres looks its own user up by name.
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Account::Other { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
            .ok_or(Error::NoAccount)
    }

    /// Makes `command` run as this account. std clears the supplementary groups as well.
    pub fn apply(self, command: &mut Command) {
        if let Account::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives `path` to this account.
    pub fn own(self, path: &Path) -> Result<(), Error> {
        match self {
            Account::Own => Ok(()),
            Account::Other { uid, gid } => std::os::unix::fs::chown(path, Some(uid), Some(gid))
                .when(|| format!("give {} to the user PostgreSQL runs as", path.display())),
        }
    }
}
