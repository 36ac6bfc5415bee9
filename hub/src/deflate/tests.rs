//! Round trips, the RFC's own examples, and what must not pass.

use miniz_oxide::deflate::compress_to_vec;
use proptest::{collection, prelude::*};

use super::*;

const MOST: usize = 64 << 10;

fn deflated(message: &[u8], level: u8) -> Vec<u8> {
    let mut out = Vec::new();
    deflate(message, level, &mut out);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_message_comes_back_as_it_was(
        words in collection::vec("[a-f]{1,6}|.{0,3}", 1..2_000),
        level in 1_u8..=9,
    ) {
        let message = words.concat().into_bytes();
        prop_assume!(!message.is_empty());
        let deflated = deflated(&message, level);
        prop_assert_eq!(inflate(&deflated, message.len()), Ok(message.clone()));
        prop_assert_eq!(inflate(&deflated, message.len() - 1), Err(Corrupt::TooBig));
    }

    #[test]
    fn anything_at_all_is_taken_or_refused(input in collection::vec(any::<u8>(), 0..200), most in 0..2_000_usize) {
        if let Ok(message) = inflate(&input, most) {
            prop_assert!(message.len() <= most && message.capacity() <= most.max(input.len() * 4).max(ROOM));
        }
    }
}

#[test]
fn a_message_knows_nothing_of_the_one_before_it() {
    for level in [1, 6, 1] {
        for number in 0..300 {
            let message = format!("once upon a {number} time ").repeat(number % 40 + 1).into_bytes();
            assert_eq!(inflate(&deflated(&message, level), MOST), Ok(message));
        }
    }
}

#[test]
fn nothing_refers_further_back_than_the_window() {
    // Noise repeats after a window and a bit: with a longer one it would be found again.
    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let noise: Vec<u8> = std::iter::repeat_with(&mut noise).take(4_200).collect();
    let message = [noise.clone(), noise.clone()].concat();
    assert!(compress_to_vec(&message, 9).len() < 5_000);
    let deflated = deflated(&message, 9);
    assert!(deflated.len() > 8_000);
    assert_eq!(inflate(&deflated, MOST), Ok(message));
}

/// RFC 7692 §7.2.3.
#[test]
fn the_examples_of_the_rfc_are_understood() {
    let hello: &[&[u8]] = &[
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
    ];
    for example in hello {
        assert_eq!(inflate(example, MOST).as_deref(), Ok(b"Hello".as_slice()), "{example:?}");
        assert_eq!(inflate(example, 5).as_deref(), Ok(b"Hello".as_slice()), "{example:?}");
        assert_eq!(inflate(example, 4), Err(Corrupt::TooBig), "{example:?}");
    }
    assert_eq!(inflate(&[0], 0), Ok(Vec::new()), "an empty message");
    assert_eq!(inflate(&[0xf2, 0x00, 0x11, 0x00, 0x00], MOST), Err(Corrupt::Damaged), "the second one of a context");
}

#[test]
fn a_bomb_ends_at_the_limit() {
    let bomb = deflated(&vec![b'x'; 4 << 20], 9);
    assert!(bomb.len() < MOST);
    assert_eq!(inflate(&bomb, MOST), Err(Corrupt::TooBig));
}

#[test]
fn half_a_message_is_damaged() {
    let whole = deflated(r#"{"id":1,"connect":{"token":"a","name":"js","version":"1"}}"#.as_bytes(), 6);
    assert!(inflate(&whole, MOST).is_ok());
    for length in 0..whole.len() - 1 {
        assert_eq!(inflate(&whole[..length], MOST), Err(Corrupt::Damaged), "{length}");
    }
}
