//! Alerts and dashboards ask for figures that the product has: a metric that was renamed would leave them silently green.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// Crates that count something.
const CRATES: [&str; 5] = ["backend", "debezium", "hub", "relay", "roomcast"];

/// Words that look like the names of our metrics.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("roomcast_") || word.starts_with("hub_"));
    ours.map(|word| word.trim_end_matches("_bucket").trim_end_matches("_count").to_owned()).collect()
}

fn sources(directory: &Path, text: &mut String) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, text)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path)?);
        }
    }
    Ok(())
}

/// What is in quotes in the sources: a metric's name stands alone there.
fn known() -> io::Result<BTreeSet<String>> {
    let mut text = String::new();
    for name in CRATES {
        sources(&PathBuf::from(ROOT).join(name).join("src"), &mut text)?;
    }
    Ok(text.split('"').map(str::to_owned).collect())
}

fn asked_for() -> anyhow::Result<BTreeSet<String>> {
    let rules = fs::read_to_string(Path::new(ROOT).join("deploy/prometheus/rules.yml"))?;
    let expressions: String = rules.lines().filter(|line| line.trim_start().starts_with("expr:")).collect();
    let mut asked = names(&expressions);
    let dashboard = fs::read_to_string(Path::new(ROOT).join("deploy/grafana/dashboards/roomcast.json"))?;
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard)?;
    let panels = dashboard["panels"].as_array().into_iter().flatten();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    asked.extend(targets.flat_map(|target| names(target["expr"].as_str().unwrap_or_default())));
    Ok(asked)
}

#[test]
fn every_metric_of_alerts_and_dashboards_exists() -> anyhow::Result<()> {
    let (asked, known) = (asked_for()?, known()?);
    assert!(asked.len() > 20, "{asked:?}");
    let missing: Vec<_> = asked.difference(&known).collect();
    assert!(missing.is_empty(), "nobody counts {missing:?}");
    Ok(())
}
