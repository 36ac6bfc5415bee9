//! WebSocket frames, in pieces, beside tungstenite.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| hub::fuzzing::frames(input));
