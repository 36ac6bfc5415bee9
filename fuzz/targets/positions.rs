//! Positions from which clients want to go on: what is told must be all that came after them, or not called recovered.
#![no_main]

use libfuzzer_sys::{arbitrary::Arbitrary, fuzz_target};
use roomcast_fuzz::{CHANNEL, SAID, Stage};
use serde_json::{Value, json};

/// What a client believes.
#[derive(Arbitrary, Debug)]
struct Believed {
    epoch: Epoch,
    offset: u64,
    flag: u8,
    /// It asks with the connect command, or with a subscribe command.
    at_connect: bool,
    /// It reads the history instead.
    history: Option<(i64, bool)>,
}

#[derive(Arbitrary, Debug)]
enum Epoch {
    Right,
    None,
    Other(String),
}

thread_local! {
    static STAGE: (Stage, String) = {
        let stage = Stage::new();
        let body = json!({ "channel": CHANNEL }).to_string();
        let (_, answer) = stage.call("history", body.into());
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let epoch = answer["result"]["epoch"].as_str().expect("an epoch").to_owned();
        (stage, epoch)
    };
}

fuzz_target!(|believed: Believed| {
    STAGE.with(|(stage, right)| {
        let epoch = match &believed.epoch {
            Epoch::Right => right,
            Epoch::None => "",
            Epoch::Other(epoch) => epoch,
        };
        let position = json!({ "epoch": epoch, "offset": believed.offset });
        let recover = json!({ "recover": true, "epoch": epoch, "offset": believed.offset });
        let (connect, mut command) = match believed.history {
            Some((limit, reverse)) => {
                let question = json!({ "channel": CHANNEL, "limit": limit, "reverse": reverse, "since": position });
                (json!({}), json!({ "history": question }))
            }
            None if believed.at_connect => (json!({ "subs": { (CHANNEL): recover } }), json!({ "rpc": {} })),
            None => {
                let mut subscribe = recover;
                subscribe["channel"] = json!(CHANNEL);
                subscribe["flag"] = json!(believed.flag);
                (json!({}), json!({ "subscribe": subscribe }))
            }
        };
        command["id"] = json!(2);
        let told = stage.say(format!("{}\n{command}", json!({ "id": 1, "connect": connect })).as_bytes());
        let Some(answer) = told.iter().find(|object| object["id"] == 2) else { return };
        if answer["subscribe"]["recovered"] == true {
            let missed = offsets(&answer["subscribe"]);
            assert!(epoch.is_empty() || epoch == right, "another epoch has nothing of this one");
            assert_eq!(missed, (believed.offset + 1..=SAID).collect::<Vec<_>>());
        }
        if let Some((limit, reverse)) = believed.history {
            let mut page = offsets(&answer["history"]);
            if reverse {
                page.reverse();
            }
            assert!(page.windows(2).all(|pair| pair[0] + 1 == pair[1]), "a page without holes: {page:?}");
            assert!(limit < 0 || page.len() as u64 <= limit.unsigned_abs(), "no more than was asked for");
        }
    });
});

fn offsets(answer: &Value) -> Vec<u64> {
    let publications = answer["publications"].as_array().map(Vec::as_slice).unwrap_or_default();
    publications.iter().map(|publication| publication["offset"].as_u64().expect("an offset")).collect()
}
