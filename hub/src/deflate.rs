//! Messages that are compressed, each on its own (permessage-deflate, RFC 7692, without context takeover): a connection
//! keeps nothing for it, and what one socket is sent can be sent to all.

mod offer;

use std::cell::RefCell;

use miniz_oxide::{
    deflate::core::{CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params},
    inflate::{
        TINFLStatus,
        core::{
            DecompressorOxide, decompress,
            inflate_flags::{TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
        },
    },
};

pub(crate) use self::offer::accept;

/// Nothing refers to what lies further back than 2 to the power of this.
const WINDOW_BITS: u8 = 12;
/// What a compressor ends with when it is flushed; it is left out of a message (RFC 7692 §7.2.1).
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];
/// What a message is completed with: what was left out of it, and an empty last block. Only what is whole ends there.
const END: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];
/// At least so much room is made for a message.
const ROOM: usize = 1 << 10;

/// Flags of the compressor and the compressor itself.
type Deflater = (u32, CompressorOxide);

thread_local! {
    /// Shared by what the thread compresses: a third of a megabyte, made when it is first used.
    static DEFLATER: RefCell<Option<Box<Deflater>>> = const { RefCell::new(None) };
    static INFLATER: RefCell<Option<Box<DecompressorOxide>>> = const { RefCell::new(None) };
}

/// Why a message cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Corrupt {
    Damaged,
    /// It has more bytes than a message may have.
    TooBig,
}

/// Appends the compressed `message` to `out`.
pub(crate) fn deflate(message: &[u8], level: u8, out: &mut Vec<u8>) {
    // A negative window: without zlib's header.
    let flags = create_comp_flags_from_zip_params(level.into(), -1, 0);
    DEFLATER.with_borrow_mut(|deflater| {
        deflater.take_if(|made| made.0 != flags);
        let (_, compressor) = &mut **deflater.get_or_insert_with(|| (flags, CompressorOxide::new(flags)).into());
        // A full flush forgets what came before: by it a part refers to nothing but itself, and the next message too.
        for part in message.chunks(1 << WINDOW_BITS) {
            compress_to_output(compressor, part, TDEFLFlush::Full, |bytes| {
                out.extend_from_slice(bytes);
                true
            });
        }
    });
    debug_assert!(message.is_empty() || out.ends_with(&FLUSHED));
    out.truncate(out.len().saturating_sub(FLUSHED.len()));
}

/// What a compressed message says, if that has at most so many bytes.
pub(crate) fn inflate(deflated: &[u8], most: usize) -> Result<Vec<u8>, Corrupt> {
    INFLATER.with_borrow_mut(|inflater| {
        let decompressor = inflater.get_or_insert_default();
        decompressor.init();
        let room = deflated.len().saturating_mul(4).clamp(ROOM, most.max(ROOM)).min(most);
        let mut message = Message { bytes: vec![0; room], length: 0, most, ended: false };
        message.take(decompressor, deflated)?;
        message.take(decompressor, &END)?;
        if !message.ended {
            return Err(Corrupt::Damaged);
        }
        message.bytes.truncate(message.length);
        Ok(message.bytes)
    })
}

/// A message that is being inflated.
struct Message {
    bytes: Vec<u8>,
    length: usize,
    most: usize,
    /// The last byte that was taken ended a last block.
    ended: bool,
}

impl Message {
    fn take(&mut self, decompressor: &mut DecompressorOxide, mut input: &[u8]) -> Result<(), Corrupt> {
        let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_HAS_MORE_INPUT;
        while !input.is_empty() {
            let (status, read, written) = decompress(decompressor, input, &mut self.bytes, self.length, flags);
            input = &input[read..];
            self.length += written;
            self.ended = status == TINFLStatus::Done;
            match status {
                // A client may mark a block as its last one and go on behind it (RFC 7692 §7.2.3.4).
                TINFLStatus::Done => decompressor.init(),
                // Said of every message that fills its room to the last byte, whether there is more or not.
                TINFLStatus::HasMoreOutput | TINFLStatus::NeedsMoreInput if input.is_empty() => {}
                TINFLStatus::HasMoreOutput => self.grow()?,
                _ => return Err(Corrupt::Damaged),
            }
        }
        Ok(())
    }

    fn grow(&mut self) -> Result<(), Corrupt> {
        let room = self.bytes.len();
        if room >= self.most {
            return Err(Corrupt::TooBig);
        }
        let larger = room.saturating_mul(2).min(self.most);
        // Not a byte more: who sends a bomb must not be given twice as much.
        self.bytes.reserve_exact(larger - room);
        self.bytes.resize(larger, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
