//! A configuration file as a tree of values, whichever of Centrifugo's three languages it is written in.

use std::{fs, path::Path};

use serde_json::Value;

/// Reads JSON, YAML or TOML, as the end of the file's name says; JSON where it says nothing.
pub(super) fn read(path: &Path) -> Result<Value, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    let document: Value = match ending.as_deref() {
        Some("yaml" | "yml") => serde_yaml_ng::from_str(&text).map_err(|error| format!("no YAML: {error}"))?,
        Some("toml") => toml::from_str(&text).map_err(|error| format!("no TOML: {error}"))?,
        _ => serde_json::from_str(&text)
            .map_err(|error| format!("no JSON: {error} (YAML and TOML are read from .yaml and .toml)"))?,
    };
    // An empty YAML file says nothing, and so does this.
    Ok(if document.is_null() { Value::Object(serde_json::Map::new()) } else { document })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_is_read_from_each_language() {
        let folder = std::env::temp_dir().join(format!("roomcast-document-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let said =
            json!({"client": {"allowed_origins": ["*"], "ping_interval": "10s"}, "channel": {"max_length": 100}});
        for (name, text) in [
            ("a.json", said.to_string()),
            ("a", said.to_string()),
            (
                "a.yaml",
                "client:\n  allowed_origins: ['*']\n  ping_interval: 10s\nchannel: {max_length: 100}\n".to_owned(),
            ),
            (
                "a.TOML",
                "[client]\nallowed_origins = ['*']\nping_interval = '10s'\n[channel]\nmax_length = 100\n".to_owned(),
            ),
        ] {
            fs::write(folder.join(name), text).unwrap();
            assert_eq!(read(&folder.join(name)), Ok(said.clone()), "{name}");
        }
        fs::write(folder.join("b.yml"), "").unwrap();
        assert_eq!(read(&folder.join("b.yml")), Ok(json!({})));
        fs::write(folder.join("c"), "client:\n").unwrap();
        assert!(read(&folder.join("c")).unwrap_err().contains(".yaml"));
        fs::remove_dir_all(folder).unwrap();
    }
}
