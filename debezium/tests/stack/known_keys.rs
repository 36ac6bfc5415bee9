//! The committed list of keys against what the real jars say.
//!
//! `ROOMCAST_UPDATE_KNOWN_KEYS=1 cargo test -p debezium known_keys` writes it anew, after a change of versions.

use std::{collections::BTreeSet, path::Path};

use debezium::{
    Stack,
    lint::{CONNECTOR, Known, known},
};
use serde::Deserialize;

use crate::harness::{bundle, stack};

#[derive(Deserialize)]
struct Plugin {
    class: String,
    r#type: String,
}

#[derive(Deserialize)]
struct Definition {
    name: String,
}

#[tokio::test]
async fn the_known_keys_are_those_of_the_real_jars() {
    let stack = stack().await;
    stack.connect(); // names the cryptography of HTTP clients
    let mut found = Known {
        producer: keys_of("org.apache.kafka.clients.producer.ProducerConfig").await,
        admin: keys_of("org.apache.kafka.clients.admin.AdminClientConfig").await,
        topic: keys_of("org.apache.kafka.storage.internals.log.LogConfig").await,
        ..Known::default()
    };
    let plugins: Vec<Plugin> = ask(&stack, "/connector-plugins?connectorsOnly=false").await;
    let may_stand_in_settings = ["source", "transformation", "predicate", "converter", "header_converter"];
    for plugin in plugins.into_iter().filter(|plugin| may_stand_in_settings.contains(&plugin.r#type.as_str())) {
        let definitions: Vec<Definition> = ask(&stack, &format!("/connector-plugins/{}/config", plugin.class)).await;
        found.classes.insert(plugin.class, definitions.into_iter().map(|definition| definition.name).collect());
    }
    assert!(
        found.classes[CONNECTOR].len() > 100
            && found.producer.len() > 50
            && found.admin.len() > 20
            && found.topic.len() > 20
    );

    if std::env::var_os("ROOMCAST_UPDATE_KNOWN_KEYS").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("known-keys.json");
        std::fs::write(file, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    } else {
        assert_eq!(*known(), found);
    }
}

async fn ask<T: serde::de::DeserializeOwned>(stack: &Stack, path: &str) -> T {
    reqwest::get(format!("{}{path}", stack.connect_url())).await.unwrap().json().await.unwrap()
}

/// Kafka's classes of settings print a page about themselves.
async fn keys_of(class: &str) -> BTreeSet<String> {
    let page = tokio::process::Command::from(bundle().await.tool(class)).output().await.unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    let anchors = page.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
    anchors.filter(|anchor| !anchor.contains("configs_")).map(str::to_owned).collect()
}
