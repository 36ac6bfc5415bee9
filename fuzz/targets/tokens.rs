//! What is said in tokens that are signed as they should be: anything. The first byte of an input chooses their kind.
#![no_main]

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use libfuzzer_sys::fuzz_target;
use roomcast_fuzz::{CHANNEL, SECRET, Stage};
use serde_json::{json, value::RawValue};

thread_local! {
    static STAGE: Stage = Stage::new();
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, claims)) = input.split_first() else { return };
    let Ok(claims) = serde_json::from_slice::<&RawValue>(claims) else { return };
    let algorithm = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512][usize::from(kind / 3) % 3];
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key).expect("a token");
    let (connect, other) = match kind % 3 {
        0 => (json!({ "token": token }), json!({ "subscribe": { "channel": CHANNEL } })),
        1 => (json!({}), json!({ "subscribe": { "channel": CHANNEL, "token": token } })),
        _ => (json!({}), json!({ "refresh": { "token": token } })),
    };
    let mut other = other;
    other["id"] = json!(2);
    let commands = format!("{}\n{other}", json!({ "id": 1, "connect": connect }));
    STAGE.with(|stage| stage.say(commands.as_bytes()));
});
