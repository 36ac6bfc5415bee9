//! What the fuzz targets of `fuzz/` need of the hub's insides. It is there with the feature `fuzzing`, which is for them
//! alone: nothing in here is kept as it is for anybody else.

use crate::decoder::{
    Decoder, LARGEST_CONTROL,
    oracle::{agree, heard_by, ours},
};

/// A client's bytes: the first two say how large a message may be and in what pieces they come, the others are read as
/// frames. Panics unless the pieces mean what the whole means, and that is what tungstenite makes of it.
pub fn frames(input: &[u8]) {
    let Some((&[most, piece], bytes)) = input.split_first_chunk() else { return };
    let most = LARGEST_CONTROL + 16 * usize::from(most);
    let pieces: Vec<&[u8]> = bytes.chunks(1 + usize::from(piece)).collect();
    assert_eq!(ours(&pieces, most), ours(&[bytes], most), "the pieces say something else than the whole");
    agree(bytes, most);
    // Compressed messages, which tungstenite does not know.
    let inflated = |pieces: &[&[u8]]| heard_by(Decoder::new(most).inflating(true), pieces);
    assert_eq!(inflated(&pieces), inflated(&[bytes]), "the pieces inflate to something else than the whole");
}
