//! The rules one by one, any stream in any pieces, and the same outcome as that of another reader of the same bytes.

use proptest::{collection, prelude::*};
use tungstenite::protocol::frame::Frame as TheirFrame;

use super::{
    oracle::{End, Heard, agree, heard_by, ours, theirs},
    *,
};

const MOST: usize = 70_000;

/// A masked frame, written by tungstenite.
fn frame(opcode: OpCode, last: bool, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let header = FrameHeader { is_final: last, opcode, mask: Some(mask), ..FrameHeader::default() };
    let mut bytes = Vec::new();
    TheirFrame::from_payload(header, payload.to_vec().into()).format(&mut bytes).unwrap();
    bytes
}

fn text(payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Data::Text), true, payload, [1, 2, 3, 4])
}

/// What a client may say, in frames.
#[derive(Clone, Debug)]
enum Say {
    /// In pieces, each with the control frames that come before it.
    Message {
        text: bool,
        payload: Vec<u8>,
        cuts: Vec<prop::sample::Index>,
        between: Vec<(bool, Vec<u8>)>,
    },
    Control {
        ping: bool,
        payload: Vec<u8>,
    },
}

impl Say {
    fn frames(&self, mask: [u8; 4]) -> Vec<u8> {
        let control = |ping: bool, payload: &[u8]| {
            frame(OpCode::Control(if ping { Control::Ping } else { Control::Pong }), true, payload, mask)
        };
        match self {
            Self::Control { ping, payload } => control(*ping, payload),
            Self::Message { text, payload, cuts, between } => {
                let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len() + 1)).collect();
                places.sort_unstable();
                let (mut bytes, mut from) = (Vec::new(), 0);
                let kind = if *text { Data::Text } else { Data::Binary };
                for (index, to) in places.iter().copied().chain([payload.len()]).enumerate() {
                    let kind = if index == 0 { kind } else { Data::Continue };
                    bytes.extend(frame(OpCode::Data(kind), index == places.len(), &payload[from..to], mask));
                    if let Some((ping, payload)) = between.get(index) {
                        bytes.extend(control(*ping, payload));
                    }
                    from = to;
                }
                bytes
            }
        }
    }
}

fn say() -> impl Strategy<Value = Say> {
    let length = prop_oneof![8 => 0..40_usize, 2 => 120..130_usize, 1 => 65_530..65_540_usize];
    let long = length.prop_flat_map(|length| (Just(length), any::<u8>())).prop_map(|(length, byte)| vec![byte; length]);
    let payload = prop_oneof![".{0,40}".prop_map(|text| (true, text.into_bytes())), long.prop_map(|it| (false, it))];
    let control = || (any::<bool>(), collection::vec(any::<u8>(), 0..=LARGEST_CONTROL));
    let cuts = collection::vec(any::<prop::sample::Index>(), 0..4);
    let message = (payload, cuts, collection::vec(control(), 0..4))
        .prop_map(|((text, payload), cuts, between)| Say::Message { text, payload, cuts, between });
    prop_oneof![4 => message, 1 => control().prop_map(|(ping, payload)| Say::Control { ping, payload })]
}

/// What a client says, as bytes; perhaps with a Close frame at its end.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let close = prop_oneof![Just(None), (1000_u16..5000, ".{0,20}").prop_map(Some)];
    (collection::vec((say(), any::<[u8; 4]>()), 0..6), close).prop_map(|(said, close)| {
        let mut bytes: Vec<u8> = said.iter().flat_map(|(say, mask)| say.frames(*mask)).collect();
        if let Some((code, reason)) = close {
            let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            bytes.extend(frame(OpCode::Control(Control::Close), true, &payload, [9; 4]));
        }
        bytes
    })
}

fn pieces<'a>(mut bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, rest) = bytes.split_at(cut.index(bytes.len() + 1));
        pieces.push(piece);
        bytes = rest;
    }
    pieces.push(bytes);
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_says_the_same_in_whatever_pieces_it_comes(
        bytes in stream(),
        cuts in collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let whole = ours(&[&bytes], MOST);
        prop_assert_eq!(&ours(&pieces(&bytes, &cuts), MOST), &whole);
        if bytes.len() < 2_000 {
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&ours(&single, MOST), &whole);
        }
    }

    #[test]
    fn a_good_stream_is_understood_as_tungstenite_does(bytes in stream(), most in 60_000..MOST) {
        prop_assert_eq!(ours(&[&bytes], most), theirs(&bytes, most));
    }

    #[test]
    fn a_damaged_stream_ends_where_it_ends_for_tungstenite(
        mut bytes in stream(),
        damage in collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..4),
        most in LARGEST_CONTROL..MOST,
    ) {
        for (place, byte, insert) in damage {
            let place = place.index(bytes.len() + 1);
            if insert || place == bytes.len() { bytes.insert(place, byte) } else { bytes[place] = byte }
        }
        agree(&bytes, most);
    }
}

#[test]
fn rules_have_names() {
    let masked = |first: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
    };
    let broken = |bytes: &[u8]| match ours(&[bytes], 1_000).1 {
        End::Broken(broken) => Some(broken),
        End::Open | End::Closed(_) => None,
    };
    assert_eq!(broken(&[0x81, 2, b'{', b'}']), Some(Broken::Rule), "not masked");
    for first in [0xc1, 0xa1, 0x91] {
        assert_eq!(broken(&masked(first, b"")), Some(Broken::Rule), "a reserved bit");
    }
    for opcode in [3, 4, 5, 6, 7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        assert_eq!(broken(&masked(0x80 | opcode, b"")), Some(Broken::Rule), "an unknown opcode");
    }
    assert_eq!(broken(&masked(0x80, b"")), Some(Broken::Rule), "a continuation of nothing");
    assert_eq!(broken(&[masked(1, b"a"), masked(0x81, b"b")].concat()), Some(Broken::Rule), "a message in a message");
    assert_eq!(broken(&masked(9, b"")), Some(Broken::Rule), "a ping in parts");
    assert_eq!(broken(&[0x89, 0xfe, 0, 126, 0, 0, 0, 0]), Some(Broken::Rule), "a large ping");
    assert_eq!(broken(&[0x81, 0xfe, 0, 125, 0, 0, 0, 0]), Some(Broken::Length));
    assert_eq!(broken(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0]), Some(Broken::Length));
    assert_eq!(broken(&[0x81, 0xfe, 4, 0, 0, 0, 0, 0]), Some(Broken::TooBig), "said before it has come");
    assert_eq!(broken(&[0x82, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]), Some(Broken::TooBig));
    assert_eq!(broken(&masked(0x81, &[0xff])), Some(Broken::NotText));
    assert_eq!(broken(&masked(0x82, &[0xff])), None, "bytes need not be text");
    assert_eq!(broken(&masked(0x88, &[3])), Some(Broken::Rule), "half a code");
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
        assert_eq!(broken(&masked(0x88, &code.to_be_bytes())), Some(Broken::Rule), "{code}");
    }
    assert_eq!(broken(&masked(0x88, &[3, 0xe8, 0xff])), Some(Broken::NotText));
}

#[test]
fn the_limit_is_that_of_the_message_whatever_its_frames() {
    let begin = frame(OpCode::Data(Data::Text), false, &[b'a'; 60], [7; 4]);
    let ping = frame(OpCode::Control(Control::Ping), true, &[0; 125], [7; 4]);
    let end = |length| frame(OpCode::Data(Data::Continue), true, &vec![b'b'; length], [7; 4]);
    let (heard, open) = ours(&[&begin, &ping, &end(40)], 100);
    assert_eq!(open, End::Open);
    assert_eq!(heard[1], Heard::Message([[b'a'; 60].as_slice(), &[b'b'; 40]].concat()));
    assert_eq!(ours(&[&begin, &ping, &end(41)], 100).1, End::Broken(Broken::TooBig));
    assert_eq!(ours(&[&text(&[b'a'; 101])], 100).1, End::Broken(Broken::TooBig));
    assert_eq!(ours(&[&text(&[b'a'; 100])], 100).1, End::Open);
}

#[test]
fn text_is_refused_as_soon_as_it_cannot_become_text() {
    let part = |last, payload: &[u8]| {
        let kind = if payload == &"é".as_bytes()[..1] { Data::Text } else { Data::Continue };
        frame(OpCode::Data(kind), last, payload, [7; 4])
    };
    let (first, second) = "é".as_bytes().split_at(1);
    assert_eq!(ours(&[&part(false, first), &part(true, second)], 9).0, [Heard::Message("é".into())]);
    assert_eq!(ours(&[&part(false, first), &part(false, b"x")], 9).1, End::Broken(Broken::NotText));
    assert_eq!(ours(&[&part(false, first), &part(true, b"")], 9).1, End::Broken(Broken::NotText), "torn at its end");
}

/// A frame of a message that is, or is not, said to be compressed.
fn marked(kind: Data, last: bool, deflated: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = frame(OpCode::Data(kind), last, payload, [5, 6, 7, 8]);
    frame[0] |= u8::from(deflated) << 6;
    frame
}

fn inflated(bytes: &[u8], most: usize) -> (Vec<Heard>, End) {
    let decoder = || Decoder::new(most).inflating(true);
    let whole = heard_by(decoder(), &[bytes]);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(heard_by(decoder(), &single), whole, "byte by byte");
    whole
}

#[test]
fn a_compressed_message_is_inflated_in_however_many_frames_it_comes() {
    let said = "{\"id\":1,\"connect\":{}}\n".repeat(20);
    let mut payload = Vec::new();
    deflate::deflate(said.as_bytes(), 6, &mut payload);
    let (begin, end) = payload.split_at(7);
    let ping = frame(OpCode::Control(Control::Ping), true, b"hi", [7; 4]);
    let frames = [
        marked(Data::Text, true, true, &payload),
        marked(Data::Text, true, false, b"plain"),
        marked(Data::Text, false, true, begin),
        ping,
        marked(Data::Continue, false, false, b""),
        marked(Data::Continue, true, false, end),
        marked(Data::Binary, true, true, &payload),
    ];
    let (message, plain) = (Heard::Message(said.clone().into()), Heard::Message(b"plain".into()));
    let expected = [message.clone(), plain, Heard::Ping(b"hi".into()), message.clone(), message];
    assert_eq!(inflated(&frames.concat(), said.len()), (expected.into(), End::Open));
    assert_eq!(inflated(&frames[0], said.len() - 1).1, End::Broken(Broken::TooBig));
    assert_eq!(ours(&[&frames[0]], 1_000).1, End::Broken(Broken::Rule), "not agreed upon");
}

#[test]
fn what_is_wrong_with_a_compressed_message_has_a_name() {
    let end = |bytes: &[u8]| inflated(bytes, 1_000).1;
    let compressed = |bytes: &[u8]| {
        let mut payload = Vec::new();
        deflate::deflate(bytes, 1, &mut payload);
        payload
    };
    let bomb = compressed(&vec![b'x'; 100_000]);
    assert!(bomb.len() < 1_000);
    assert_eq!(end(&marked(Data::Text, true, true, &bomb)), End::Broken(Broken::TooBig));
    let noise: Vec<u8> = (0..=255).cycle().take(1_001).collect();
    assert_eq!(end(&marked(Data::Text, true, true, &noise)), End::Broken(Broken::TooBig), "said before it has come");
    assert_eq!(end(&marked(Data::Text, true, true, b"not compressed")), End::Broken(Broken::Rule));
    assert_eq!(end(&marked(Data::Text, true, true, &compressed(&[0xff; 9]))), End::Broken(Broken::NotText));
    assert_eq!(end(&marked(Data::Binary, true, true, &compressed(&[0xff; 9]))), End::Open);
    let parts = [marked(Data::Text, false, false, b"a"), marked(Data::Continue, true, true, b"b")].concat();
    assert_eq!(end(&parts), End::Broken(Broken::Rule), "it stands in the first frame");
    assert_eq!(end(&[0xc9, 0x80, 0, 0, 0, 0]), End::Broken(Broken::Rule), "a compressed ping");
    assert_eq!(end(&[0xe1, 0x80, 0, 0, 0, 0]), End::Broken(Broken::Rule), "another bit as well");
}
