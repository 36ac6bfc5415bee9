//! Bodies of the server API. The first byte of an input chooses the method.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_fuzz::Stage;

const METHODS: [&str; 15] = [
    "publish",
    "broadcast",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "refresh",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "info",
    "rpc",
    "batch",
    "nothing",
];

thread_local! {
    static STAGE: Stage = Stage::new();
}

fuzz_target!(|input: &[u8]| {
    let Some((&method, body)) = input.split_first() else { return };
    let method = METHODS[usize::from(method) % METHODS.len()];
    let (status, answer) = STAGE.with(|stage| stage.call(method, body.to_vec().into()));
    assert!(!status.is_server_error(), "{method}: {status}");
    if status.is_success() {
        serde_json::from_slice::<serde_json::Value>(&answer).expect("the answer is JSON");
    }
});
