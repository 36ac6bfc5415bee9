//! What a client says once it is connected: commands, one a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast_fuzz::Stage;

thread_local! {
    static STAGE: Stage = Stage::new();
}

fuzz_target!(|message: &[u8]| {
    STAGE.with(|stage| stage.say_connected(message));
});
