//! `roomcast migrate`: the schema of this version.

use crate::{config, console};

pub(super) async fn run(settings: &config::Migrate) -> anyhow::Result<()> {
    let url = settings.database.url.expose();
    backend::migrate(url).await?;
    backend::check_schema(&backend::connect_for_commands(url).await?).await?;
    console::say("The database has the schema of this version.");
    Ok(())
}
