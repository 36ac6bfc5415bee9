//! `roomcast migrate`: the schema of this version.

use crate::{config, console};

pub(super) async fn run(settings: &config::Migrate) -> anyhow::Result<()> {
    let db = backend::connect(settings.database.url.expose(), 1).await?;
    backend::MIGRATOR.run(&db).await?;
    backend::check_schema(&db).await?;
    console::say("The database has the schema of this version.");
    Ok(())
}
