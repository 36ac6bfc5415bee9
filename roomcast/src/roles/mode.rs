//! `roomcast mode`: which way messages travel by, and the switch to another.

use crate::{
    config::{self, ModeAction},
    console,
};

pub(super) async fn run(settings: config::Mode) -> anyhow::Result<()> {
    let db = super::running_database(&settings.database).await?;
    match settings.action {
        ModeAction::Get => console::say(backend::mode::get(&db).await?.mode),
        // Whether the backends have a hub to publish to is not to be seen from here: they count what they lose.
        ModeAction::Set { mode } => match backend::mode::set(&db, mode, true).await? {
            Some(_) => console::say(format_args!("Messages travel by {mode} from now on.")),
            None => console::say(format_args!("Messages travel by {mode} already.")),
        },
    }
    Ok(())
}
